"""Runs the README's example against the simulator: run_first.py EXAMPLE SIMULATOR."""
import json
import subprocess
import sys

example, simulator = sys.argv[1:3]
device = subprocess.Popen([simulator, "--port", "0", "--device-id", "DEVICE123"], stdout=subprocess.PIPE, text=True)
try:
    port = json.loads(device.stdout.readline())["port"]
    done = subprocess.run([example, "127.0.0.1", str(port)], capture_output=True, text=True, timeout=30)
finally:
    device.terminate()
    device.wait(10)
    device.stdout.close()
print(done.stdout, done.stderr)
sys.exit(0 if done.returncode == 0 and done.stdout == "DEVICE123 is on\n" else 1)
