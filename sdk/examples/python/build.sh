#!/bin/sh
# Makes build/component.wasm. Needs componentize-py (`pip install -r requirements.txt`) and Python 3.10 or newer.
set -eu
cd "$(dirname "$0")"
rm -rf build
mkdir -p build/wit/deps/carapace-plugin
cp wit/world.wit build/wit/
cp ../../../wit/*.wit build/wit/deps/carapace-plugin/
componentize-py -d build/wit -w words componentize app -o build/component.wasm
echo 'put the manifest into it: carapace plugin build --core build/component.wasm --manifest carapace.toml --out words.wasm'
