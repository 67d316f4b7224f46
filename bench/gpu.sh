#!/usr/bin/env bash
# What `tox -e gpu` does, for a machine with a CUDA device and the packages of pyproject.toml, but no tox or network.
#
#   bench/gpu.sh [STEP ...]     tests, kernel, page, step, study; without names all of them
#
# A step that fails does not stop the others; the end says which did. What they write goes to $OUT, or results/gpu.
# With LIMIT=SECONDS the step `kernel` ends after so long and keeps what it has timed. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
device=${DEVICE:-cuda} # DEVICE=cpu rehearses all this
out=${OUT:-results/gpu}
wanted=" ${*:-tests kernel page step study} "
failed=
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

step() { # NAME COMMAND ...
    local name=$1 started=$SECONDS status
    shift
    [[ $wanted == *" $name "* ]] || return 0
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@"
    status=$?
    ((status == 0)) || failed+=" $name"
    printf '=== %s: exit code %s after %s s\n' "$name" "$status" $((SECONDS - started))
    return "$status"
}

study() { # NAME
    "$python" -m deeptwins run "$1" --device "$device" --results "$out/results" --fresh
}

bench() { # FILE JSON [OPTION ...]
    "$python" -m pytest --timeout=0 --capture=no "$1" --benchmark-json="$2" "${@:3}"
}

main() {
    wanted+="smoke "
    step smoke study smoke
    (($? == 2)) && return 2 # one line has said what is missing, such as the device: nothing else would work either
    step tests "$python" -m pytest -m gpu
    step kernel bench bench/bench_bn_relu_add.py "$out/bench.json" --session-timeout="${LIMIT:-0}"
    step page "$python" -m deeptwins kernels --timings "$out/bench.json" --results "$out/results" --reports "$out/reports"
    step step bench bench/bench_training_step.py "$out/step.json"
    step study study kernel
    if [[ -n $failed ]]; then
        printf "\nfailed:%s; see above\n" "$failed"
        return 1
    fi
    printf "\nall steps passed; what they wrote lies in %s\n" "$out"
}

mkdir -p "$out"
main 2>&1 | tee "$out/log.txt"
