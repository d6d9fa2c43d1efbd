# Sourced by the scripts beside it, which run under `set -e`: `stage NAME COMMAND…` runs a command and prints how long
# it took; one that fails ends the script, and is named. A command's own `set -e` stays in force: nothing here runs it
# inside a condition.

stage() {
    current_stage=$1
    local begin=$SECONDS
    shift
    printf '== %s\n' "$current_stage"
    "$@"
    printf '== %s: %d s\n' "$current_stage" $((SECONDS - begin))
    current_stage=
}

name_failed_stage() {
    [ -z "${current_stage:-}" ] || printf '== %s: failed\n' "$current_stage"
}
trap name_failed_stage EXIT
