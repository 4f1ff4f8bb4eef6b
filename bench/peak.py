#!/usr/bin/env python3
"""Runs a command and appends its peak memory in KiB to a file, where GNU time is missing: peak.py FILE COMMAND..."""

import resource
import subprocess
import sys

code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "a", encoding="ascii") as file:
    file.write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\n")
sys.exit(code if code >= 0 else 128 - code)
