#!/usr/bin/env bash
# Installs jaxrl with the tested versions into .venv-test and runs the tests; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
python="${PYTHON:-python3}"
# A copy of the checkout may have lost its links, which make one package of the folders.
for link in jaxrl/envs jaxrl/algos jaxrl/experiments src/jaxrl; do
    [ -d "$link" ] || { mkdir -p src && ln -sfn "../$(basename "$link")" "$link"; }
done
# The environment is kept while the files that determine it are unchanged.
made_from="$PWD $("$python" -VV) $(cat pyproject.toml constraints.txt | cksum)"
if [ "$made_from" != "$(cat .venv-test/made-from 2>/dev/null)" ]; then
    rm -rf .venv-test
    "$python" -m venv .venv-test
    .venv-test/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
    echo "$made_from" > .venv-test/made-from
fi
# Workers share a cache of compiled programs, which begins empty: a run does not depend on the one before.
rm -rf .pytest_cache/programs
exec .venv-test/bin/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist worksteal "$@"
