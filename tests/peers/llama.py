"""llama.cpp's own server with a small real model, on a free loopback port.

Usage: llama.py MODEL.gguf [API_KEY]. THREADS in the environment: how many compute. Prints the base URL when it listens; stops when stdin closes.
"""

import os
import sys

from xllamacpp import CommonParams, Server

params = CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 4096
params.n_parallel = 1
params.cpuparams.n_threads = int(os.environ.get("THREADS", "2"))
if len(sys.argv) > 2:
    params.api_keys = [sys.argv[2]]

server = Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
