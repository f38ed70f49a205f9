"""How long the README's example takes to compile, beside a bare program of Asio's coroutines: compile_time.py [ROUNDS].

Interleaved pairs, processor time of the compiler, medians. Nothing is linked.
"""

import pathlib
import resource
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROGRAMS = {'asio': HERE / 'asio_first.cpp', 'cleat': ROOT / 'docs/examples/first.cpp'}


def seconds(compiler, flags, source):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([compiler, '-std=c++20', *flags, f'-I{ROOT / "lib"}', '-c', source, '-o', '/dev/null'], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
print(f'{"":22} {"asio s":>8} {"cleat s":>8} {"ratio":>7}')
for compiler in filter(shutil.which, ('g++', 'clang++-19')):
    for flags in (['-O0', '-g'], ['-O2']):
        took = {name: [] for name in PROGRAMS}
        for _ in range(rounds):
            for name, source in PROGRAMS.items():
                took[name].append(seconds(compiler, flags, source))
        asio, cleat = (statistics.median(took[name]) for name in ('asio', 'cleat'))
        print(f'{compiler + " " + " ".join(flags):22} {asio:8.2f} {cleat:8.2f} {cleat / asio:7.2f}', flush=True)
