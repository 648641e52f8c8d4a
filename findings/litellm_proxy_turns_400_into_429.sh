#!/bin/sh
# LiteLLM's proxy 1.108.0 reports an upstream's 400 as 429 where the error's text speaks of a rate limit.
#
# Seen: an upstream answers 400 with the sentence below; the proxy answers 429 and has asked the upstream three times for
# the one request. With any other sentence the same upstream's 400 stays 400 and is asked once.
# Why it matters: a client that waits and repeats after 429 repeats a request that can never succeed, threefold.
set -eu
folder=$(mktemp -d)
trap 'kill "$proxy" 2>/dev/null || true; rm -rf "$folder"' EXIT
proxy=0
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "litellm[proxy]==1.108.0"
cd "$folder"
cat > upstream.py <<'PYTHON'
import http.server
import json
import sys

SENTENCES = {
    "words": "This field may name a rate limit tier; the value is not valid.",
    "plain": "This field may name a tier; the value is not valid.",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("asked", "a") as file:
            file.write(body["model"] + "\n")
        answer = json.dumps({"error": {"message": SENTENCES[body["model"]], "type": "invalid_request_error"}}).encode()
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open("port", "w") as file:
    file.write(str(server.server_port))
server.serve_forever()
PYTHON
env/bin/python upstream.py &
upstream=$!
trap 'kill "$upstream" "$proxy" 2>/dev/null || true; rm -rf "$folder"' EXIT
while [ ! -s port ]; do sleep 0.1; done
cat > proxy.yaml <<YAML
model_list:
  - model_name: words
    litellm_params: {model: openai/words, api_base: "http://127.0.0.1:$(cat port)/v1", api_key: none}
  - model_name: plain
    litellm_params: {model: openai/plain, api_base: "http://127.0.0.1:$(cat port)/v1", api_key: none}
YAML
export LITELLM_MASTER_KEY="sk-$(env/bin/python -c 'import secrets; print(secrets.token_hex(32))')"
export LITELLM_LOCAL_MODEL_COST_MAP=True
own=$(env/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
env/bin/litellm --config proxy.yaml --host 127.0.0.1 --port "$own" > proxy.log 2>&1 &
proxy=$!
PORT=$own env/bin/python - <<'PYTHON'
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from importlib.metadata import version

address = f"http://127.0.0.1:{os.environ['PORT']}"


def status(path, body=None):
    headers = {"content-type": "application/json", "authorization": f"Bearer {os.environ['LITELLM_MASTER_KEY']}"}
    request = urllib.request.Request(address + path, body and json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return None


deadline = time.monotonic() + 120
while status("/health/liveliness") != 200 and time.monotonic() < deadline:
    time.sleep(0.5)
turn = [{"role": "user", "content": "Hello"}]
seen = {name: status("/v1/chat/completions", {"model": name, "messages": turn}) for name in ("words", "plain")}
with open("asked") as file:
    asked = Counter(file.read().split())
print("litellm", version("litellm"))
for name, code in seen.items():
    print(f"  upstream 400, {name}: the proxy answers {code} after asking {asked[name]} times")
sys.exit(0 if seen == {"words": 429, "plain": 400} and asked == {"words": 3, "plain": 1} else "the behavior changed")
PYTHON
