#!/usr/bin/env bash
# All that needs a CUDA device, one step after another; with the packages of pyproject.toml, but no tox or network.
#
#   bench/gpu.sh [STEP ...]     without names all of them, what matters most first
#
#   tests        pytest -m gpu: the fused operation against fp64, captures, the trainer
#   kernel       times of the fused operation, and their page
#   throughput   how fast the paper's CIFAR-10 grid trains: alone, together, by the usual loop; and its page
#   compiled     the same by the loop that compiles, onto that page
#   depth        as much of `depth-cifar10` as there is time for, with the data in DEEPTWINS_DATA, and its page
#   packing      nets packed into one, and their page
#   profile      where the time of a step goes at depth 56, and its page
#   choices      steps a replay, runs in hand, images an evaluation: other numbers than the trainer's, onto that page
#   study        the short study `kernel`, and its page
#
# A step that fails does not stop the others; the end says which did. What they write goes to FOLDER, or results/gpu.
# LIMIT=SECONDS ends each of the long ones, all benches among them, after so long, by default 480, and keeps what there is;
# `depth` goes on in the next call. LIMIT= ends none.
# ARCHIVE=FILE packs the folder after every step, into FILE.00, FILE.01, ... of 15 MiB at most. Where these are there at
# the start they are unpacked first: so the next call may be on another machine.
# DEVICE=cpu rehearses every step in minutes, on a processor and at a tiny size, in results/rehearsal: its numbers mean
# nothing. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

python=${PYTHON:-python3}
device=${DEVICE:-cuda}
folder=${FOLDER:-results/gpu}
limit=${LIMIT-480}
archive=${ARCHIVE-}
steps="tests kernel throughput compiled depth packing profile choices study"
wanted=" smoke ${*:-$steps} "
rehearsal='' failed='' left=''
kernels=() packed=(-k "bf16 and channels_last and not gemm") profiled=(--set recipe.precision=tf32) choices=() short=() grid=()
if [[ $device == cpu ]]; then
    export CUDA_VISIBLE_DEVICES= # also to the benches, which take a GPU where there is one
    folder=${FOLDER:-results/rehearsal}
    rehearsal="a rehearsal, whose numbers mean nothing: "
    kernels=(-k "relu-128x64x8x8 and eager")
    packed=(-k "2nets and depth20 and width8 and channels_last and not gemm")
    profiled+=(--input 3x8x8 --batch 8 --steps 1)
    choices=(-k "[2] or 2500")
    short=(--seeds 1 --set recipe.iterations=4 --set "recipe.milestones=[2]" --set recipe.warmup=1
        --set recipe.batch_size=8)
    grid=(--seeds 1 --set recipe.iterations=4 --set "recipe.milestones=[2]" --set recipe.dataset=synthetic
        --set recipe.image_size=8 --set recipe.batch_size=16 --set recipe.width=4)
fi
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

step() { # NAME COMMAND ...
    local name=$1 started=$SECONDS status
    shift
    [[ $wanted == *" $name "* ]] || return 0
    printf '\n=== %s\n' "$name"
    "$@"
    status=$?
    ((status == 0)) || failed+=" $name"
    printf '=== %s: exit code %s after %s s\n' "$name" "$status" $((SECONDS - started))
    pack
    return "$status"
}

deeptwins() { # COMMAND ...
    "$python" -m deeptwins "$@" --results "$folder/results"
}

page() { # COMMAND ...
    deeptwins "$@" --reports "$folder/reports"
}

limited() { # ARGUMENTS of pytest, which calls it a failure when its time is up
    local status log=$folder/pytest.txt
    "$python" -m pytest ${limit:+--session-timeout="$limit"} "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    if ((status == 1)) && grep -q "session-timeout: .* exceeded" "$log"; then
        left+=" $name (ended by LIMIT=$limit)"
        tail -n 1 "$log" | grep -Eq "[0-9]+ (failed|error)" || status=0
    fi
    rm "$log"
    return "$status"
}

bench() { # FILE JSON [OPTION ...]
    rm -f "$2" # that none of an earlier call is taken for this one's
    limited --timeout=0 --capture=no "$1" --benchmark-json="$2" "${@:3}"
}

# Pages of benches are written of what has been timed, even where a case failed.

kernel() {
    local status
    bench bench/bench_bn_relu_add.py "$folder/kernel.json" "${kernels[@]}"
    status=$?
    # What kernels are compiled to is the same on any machine, and takes minutes of a processor.
    mkdir -p "$folder/results/kernels"
    cp results/reference/kernels/compiled.json "$folder/results/kernels/"
    page kernels --no-compile --timings "$folder/kernel.json" && return "$status"
}

timed() { # FILES BENCH [OPTION ...]: of what this call timed, and those before, in FILES; the first of them is written
    local status file timings=()
    bench "$2" "$folder/${1%% *}.json" "${@:3}"
    status=$?
    for file in $1; do
        [[ ! -s $folder/$file.json ]] || timings+=(--timings "$folder/$file.json")
    done
    ((${#timings[@]} == 0)) && return "$status"
    page profile "${timings[@]}" && return "$status"
}

depth() { # runs that are there already go on
    local status reported data=${DEEPTWINS_DATA-} where=()
    if [[ $device != cpu && -z $data ]]; then
        left+=" depth (no CIFAR-10: DEEPTWINS_DATA names no folder)"
        return 0
    fi
    [[ -z $data ]] || where=(--data "$data")
    deeptwins run depth-cifar10 --device "$device" ${limit:+--time-limit "${limit}s"} "${where[@]}" "${grid[@]}"
    status=$?
    ((status == 0 || status == 3)) || return "$status"
    page report depth-cifar10 "${grid[@]}"
    reported=$?
    ((status == 3)) || return "$reported"
    left+=" depth (ended by LIMIT=$limit)"
    ((reported == 2)) || return "$reported"
    echo "no page yet: the runs of a seed advance together, and none has finished"
}

study() {
    [[ $device != cpu ]] || local -x TRITON_INTERPRET=1
    deeptwins run kernel --device "$device" --fresh "${short[@]}" && page report kernel "${short[@]}"
}

pack() {
    [[ -n $archive ]] || return 0
    rm -f "$archive".[0-9][0-9]
    tar -cz -C "$folder" . | split --bytes=15M --numeric-suffixes - "$archive."
}

unpack() {
    [[ -n $archive && -e $archive.00 ]] || return 0
    cat "$archive".[0-9][0-9] | tar -xz -C "$folder"
}

main() {
    printf '\n%s%s: bench/gpu.sh %s\n' "$rehearsal" "$(date -u +%FT%TZ)" "${wanted# smoke }"
    step smoke deeptwins run smoke --device "$device" --fresh
    (($? == 2)) && return 2 # one line has said what is missing, such as the device: nothing else would work either
    step tests limited -m gpu
    step kernel kernel
    step throughput timed "throughput compiled" bench/bench_throughput.py -k "not compiled"
    step compiled timed "compiled throughput" bench/bench_throughput.py -k compiled
    step depth depth
    step packing timed "packing choices" bench/bench_packing.py "${packed[@]}"
    step profile page profile cifar-plain-56 cifar-resnet-56 --device "$device" "${profiled[@]}"
    step choices timed "choices packing" bench/bench_choices.py "${choices[@]}"
    step study study
    printf '\n%s%s%s; what they wrote lies in %s\n' "$rehearsal" "${failed:+failed:}${failed:-no step failed}" \
        "${left:+; unfinished:$left}" "$folder"
    [[ -z $failed ]]
}

for name in "$@"; do
    if [[ " smoke $steps " != *" $name "* ]]; then
        echo "bench/gpu.sh: no step '$name'; there are $steps" >&2
        exit 2
    fi
done
"$python" - <<'END' || exit 2
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
needed = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["train"]]
needed += project["dependency-groups"]["test"]
needed += [need for need in project["dependency-groups"]["bench"] if isinstance(need, str)]
missing = []
for need in needed:
    name, _, marker = need.partition(";")
    name = re.match(r"[\w.-]+", name)[0]
    try:
        version(name)
    except PackageNotFoundError:
        if not marker or sys.platform == "linux":
            missing.append(name)
if missing:
    sys.exit(f"bench/gpu.sh: {sys.executable} lacks {', '.join(missing)}; see [project], its extra train and the group bench of pyproject.toml")
END
mkdir -p "$folder"
unpack || exit 2
main 2>&1 | tee -a "$folder/log.txt"
