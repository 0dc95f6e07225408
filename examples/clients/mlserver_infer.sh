#!/bin/sh
# Ask the model `simple` a file of requests with MLServer's own command, from the root of the project:
#
#     pip install mlserver
#     sh examples/clients/mlserver_infer.sh localhost:8080
set -eu
address=${1:-localhost:8080}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# One request a line; the command sends micro-batches of eight with four workers.
for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
    tr -d '\n' < examples/requests/simple.json
    echo
done > "$folder/requests.jsonl"
mlserver infer --url "$address" --model-name simple --workers 4 --batch-size 8 \
    --input-data-path "$folder/requests.jsonl" --output-data-path "$folder/answers.jsonl" >&2
cat "$folder/answers.jsonl"
