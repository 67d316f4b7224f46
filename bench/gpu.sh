#!/usr/bin/env bash
# All that needs a CUDA device, one step after another; with the packages of pyproject.toml, but no tox or network.
#
#   bench/gpu.sh [STEP ...]     tests, kernel, page, step, throughput, packing, study, depth; without names all of them
#
#   tests        pytest -m gpu
#   kernel page  times of the fused operation, and their page
#   step         a training step by depth
#   throughput   how fast the paper's CIFAR-10 grid trains, and its page
#   packing      nets packed into one
#   study        the short study `kernel`
#   depth        as much of `depth-cifar10` as STUDY_LIMIT has room for (9m), with the data in DEEPTWINS_DATA; its page
#
# A step that fails does not stop the others; the end says which did. What they write goes to $OUT, or results/gpu.
# With LIMIT=SECONDS the steps `kernel` and `throughput` end after so long each, and keep what they have timed; the loop
# that compiles comes last. PYTHON names the interpreter.
# DEVICE=cpu rehearses every step in minutes, on a processor and at a tiny size: its numbers mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
device=${DEVICE:-cuda}
out=${OUT:-results/gpu}
limit=${STUDY_LIMIT-9m} # empty: none
wanted=" ${*:-tests kernel page step throughput packing study depth} "
failed=
kernels=() steps=() packed=(-k "bf16 and channels_last and not gemm") short=() grid=() compile=(--compile)
if [[ $device == cpu ]]; then
    export CUDA_VISIBLE_DEVICES= # also to the benches, which take a GPU where there is one
    kernels=(-k "relu-128x64x8x8 and eager")
    steps=(-k "bench_step and cifar-20")
    packed=(-k "2nets and depth20 and width8 and channels_last and not gemm")
    short=(--seeds 1 --set recipe.iterations=4 --set "recipe.milestones=[2]" --set recipe.warmup=1
        --set recipe.batch_size=8)
    grid=(--seeds 1 --set recipe.iterations=4 --set "recipe.milestones=[2]" --set recipe.dataset=synthetic
        --set recipe.image_size=8 --set recipe.batch_size=16 --set recipe.width=4)
    compile=(--no-compile) # takes minutes, and is the same without a GPU
fi
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

study() { # NAME [OPTION ...]
    "$python" -m deeptwins run "$1" --device "$device" --results "$out/results" --fresh "${@:2}"
}

bench() { # FILE JSON [OPTION ...]
    "$python" -m pytest --timeout=0 --capture=no "$1" --benchmark-json="$2" "${@:3}"
}

page() { # of the fused operation
    if [[ $device == cpu ]] && mkdir -p "$out/results/kernels"; then
        cp results/reference/kernels/compiled.json "$out/results/kernels/"
    fi
    "$python" -m deeptwins kernels "${compile[@]}" --timings "$out/bench.json" --results "$out/results" \
        --reports "$out/reports"
}

throughput() {
    local status
    bench bench/bench_throughput.py "$out/throughput.json" ${LIMIT:+--session-timeout="$LIMIT"}
    status=$?
    # Of what has been timed, even where a case failed.
    "$python" -m deeptwins profile --timings "$out/throughput.json" --results "$out/results" \
        --reports "$out/reports" && return "$status"
}

depth() { # runs that are there already go on
    local status data=${DEEPTWINS_DATA-} where=()
    if [[ $device != cpu && -z $data ]]; then
        echo "left out: DEEPTWINS_DATA names no folder with CIFAR-10"
        return 0
    fi
    [[ -z $data ]] || where=(--data "$data")
    "$python" -m deeptwins run depth-cifar10 --device "$device" ${limit:+--time-limit "$limit"} \
        --results "$out/results" "${where[@]}" "${grid[@]}"
    status=$?
    ((status == 0 || status == 3)) || return "$status" # 3: time ran out before all runs were finished
    "$python" -m deeptwins report depth-cifar10 --results "$out/results" --reports "$out/reports" "${grid[@]}"
}

main() {
    wanted+="smoke "
    step smoke study smoke
    (($? == 2)) && return 2 # one line has said what is missing, such as the device: nothing else would work either
    step tests "$python" -m pytest -m gpu
    step kernel bench bench/bench_bn_relu_add.py "$out/bench.json" ${LIMIT:+--session-timeout="$LIMIT"} "${kernels[@]}"
    step page page
    step step bench bench/bench_training_step.py "$out/step.json" "${steps[@]}"
    step throughput throughput
    step packing bench bench/bench_packing.py "$out/packing.json" "${packed[@]}"
    [[ $device != cpu ]] || export TRITON_INTERPRET=1
    step study study kernel "${short[@]}"
    step depth depth
    if [[ -n $failed ]]; then
        printf "\nfailed:%s; see above\n" "$failed"
        return 1
    fi
    printf "\nall steps passed; what they wrote lies in %s\n" "$out"
}

mkdir -p "$out"
main 2>&1 | tee "$out/log.txt"
