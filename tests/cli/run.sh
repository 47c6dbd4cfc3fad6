#!/bin/sh
# The command-line program's commands, their outputs and exit statuses.
#
# usage: run.sh PROGRAM MODELS WORK_DIR
set -e
program=$1 models=$2 model=$2/tf2_child_methods/model work=$3
rm -rf "$work"
mkdir -p "$work"

expect() { # expect STATUS TEXT COMMAND...: exit status, and TEXT in what it prints
  status=$1 text=$2
  shift 2
  got=0
  "$@" >"$work/out.txt" 2>&1 || got=$?
  if [ "$got" != "$status" ] || ! grep -qF -- "$text" "$work/out.txt"; then
    echo "FAILED: $*: exit status $got, want $status and '$text'"
    cat "$work/out.txt"
    exit 1
  fi
}

expect 0 "Exit status" "$program" --help
expect 2 "" "$program"
expect 2 "" "$program" show
expect 1 "NOT_FOUND" "$program" show "$work/nowhere"
expect 0 "serving_default" "$program" show "$model"
expect 0 "fingerprint: checksum 3362885395225984501, uuid 96094872988170087537596826336404401073" \
  "$program" show "$model"
expect 0 '"as expected"' sh -c "'$program' show '$model' --json | python3 -c '
import json, sys
model = json.load(sys.stdin)
assert model[\"signatures\"][\"serving_default\"][\"inputs\"][0][\"shape\"] == [-1, 3]
assert any(v[\"path\"] == \"deep.child.w\" for v in model[\"variables\"])
print(\"\\\"as expected\\\"\")'"
expect 0 "MatMul" "$program" show "$model" --plan
expect 0 "deep.child.w: float[3,3]" "$program" show "$model" --variable deep.child.w
expect 0 "output_0: float[2,3]" "$program" run "$model" --input_exprs 'x=[[1,2,3],[4,5,6]]' \
  --outdir "$work/out"
expect 1 "ALREADY_EXISTS" "$program" run "$model" --input_exprs 'x=ones((2,3))' --outdir "$work/out"
expect 0 "output_0" "$program" run "$model" --inputs "x=$work/out/output_0.npy" --json
expect 1 "expected one of: x" "$program" run "$model" --input_exprs 'y=[[1,2,3]]'
expect 1 "INVALID_ARGUMENT" "$program" run "$model" --input_exprs "x=[['a']]"
expect 0 "output_0" "$program" run "$model" --input_exprs 'x=ones((2,3))' --precision int8
expect 2 "--precision" "$program" run "$model" --input_exprs 'x=ones((2,3))' --precision int4
expect 0 "all can run" "$program" check "$model"
expect 0 '"problems": []' "$program" check "$model" --json
expect 1 "NOT_FOUND" "$program" check "$work/nowhere"
mkdir "$work/wobbly"
cat >"$work/wobbly/saved_model.pbtxt" <<'END'
saved_model_schema_version: 1
meta_graphs {
  meta_info_def { tags: "serve" }
  graph_def {
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "w" op: "Wobble" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
    node { name: "y" op: "Relu" input: "w" attr { key: "T" value { type: DT_FLOAT } } }
  }
  signature_def { key: "serving_default" value {
    inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT } }
    outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT } } } }
}
END
expect 1 "serving_default: w (Wobble): UNIMPLEMENTED" "$program" check "$work/wobbly"
expect 1 '"op": "Wobble"' "$program" check "$work/wobbly" --json
expect 0 "median" "$program" bench "$model" --shape x=4,3 --runs 10
expect 0 "MatMul" "$program" bench "$model" --shape x=4,3 --runs 10 --profile
expect 0 "median" "$program" bench "$model" --shape x=4,3 --runs 10 --trace "$work/trace.json"
expect 0 "MatMul" cat "$work/trace.json"
expect 0 "float[4,3]" "$program" show "$model" --plan --shape x=4,3
expect 0 "float[4,3]" "$program" show "$model" --plan --shape 'x=2,3;x=4,3'
expect 1 "expected NAME=DIM" "$program" show "$model" --plan --shape x=4,3b
expect 0 "fixture_lib.py:756 in main" "$program" show "$models/tf2_debug_info/model" --source file_prefix
expect 1 "NOT_FOUND" "$program" show "$model" --source file_prefix
expect 1 "the model has none" "$program" run "$models/tf2_functions_without_signatures/model"
expect 1 "choose with --signature from: decode" "$program" run "$models/tf2_multi_signatures/model" --signature nope
rm -rf "$work"
echo "all commands answered"
