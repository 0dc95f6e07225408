#!/bin/sh
# Ask the model `simple` with curl, from the root of the project:
#
#     sh examples/clients/with_curl.sh http://localhost:8000
set -eu
url=${1:-http://localhost:8000}
ask() { curl --silent --show-error --fail "$@"; echo; }

ask "$url/v2/models/simple"
ask "$url/v2/models/simple/infer" --data @examples/requests/simple.json
# Events, as they come; --no-buffer shows each at once.
ask --no-buffer "$url/v2/models/simple/generate_stream" \
    --data '{"INPUT0": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], "INPUT1": [2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2]}'
ask "$url/v2/repository/index" --request POST
