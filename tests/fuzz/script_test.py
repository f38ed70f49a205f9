#!/usr/bin/env python3
"""scripts/fuzz, with a Meson, a Ninja and fuzzers of straw: what it says of a finding, and which code comes out."""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'check'))
import tree  # noqa: E402

STRAW_NINJA = """
    #!/bin/sh
    test ! -e "$STRAW/ninja_fails" || { echo "session.cpp:1: error: nonsense"; exit 1; }
    for word; do
      case $word in tests/*) mkdir -p "$2/tests/fuzz" && cp "$STRAW/${word##*/}" "$2/$word" ;; esac
    done
"""
STRAW_FUZZER = """
    #!/usr/bin/env bash
    printf '%s\\n' "$@" > "$STRAW/arguments"
    echo '#10 DONE   cov: 42 ft: 50'
    echo 'stat::number_of_executed_units: 1234'
    echo 'stat::average_exec_per_sec:     617'
"""
STRAW_FINDER = """
    #!/usr/bin/env bash
    for word; do case $word in -artifact_prefix=*) prefix=${word#*=} ;; esac; done
    printf x > "${prefix}crash-1"
    echo 'fuzz: every call ends'
    echo 'Base64: eA=='
    exit 77
"""


class Fuzz(tree.Planted):
    def setUp(self):
        super().setUp()
        (self.tree / 'scripts').mkdir()
        shutil.copy(tree.ROOT / 'scripts/fuzz', self.tree / 'scripts/fuzz')
        self.write('scripts/setup', '#!/bin/sh\n', executable=True)
        self.write('straw/meson', '#!/bin/sh\n', executable=True)
        self.write('straw/ninja', STRAW_NINJA, executable=True)
        for name, fuzzer in (('good', STRAW_FUZZER), ('bad', STRAW_FINDER), ('broken', '#!/bin/sh\necho no\nexit 1\n')):
            self.write(f'straw/fuzz_{name}', fuzzer, executable=True)
            self.write(f'tests/fuzz/corpus/{name}/one', 'x')
        self.environment = dict(os.environ, STRAW=str(self.tree / 'straw'),
                                PATH=f'{self.tree / "straw"}:{os.environ["PATH"]}')

    def call(self, *arguments):
        return subprocess.run([self.tree / 'scripts/fuzz', *arguments], env=self.environment, capture_output=True,
                              text=True, check=False, cwd='/')

    def test_runs_a_fuzzer_and_counts_it(self):
        done = self.call('--seconds', '7', 'good')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        summary, last = done.stdout.splitlines()
        self.assertRegex(summary, r'^ok +good +1234 executions, +617 a second, +\d+ s, +42 edges, 0 findings$')
        self.assertEqual(last, '1 passed, 0 failed')
        arguments = (self.tree / 'straw/arguments').read_text(encoding='utf-8').split()
        self.assertEqual(arguments[:3], [str(self.tree / 'build/fuzz/corpus-good'),
                                         str(self.tree / 'tests/fuzz/corpus/good'), '-max_total_time=7'])

    def test_tells_a_finding_and_how_to_replay_it(self):
        done = self.call('good', 'bad')
        self.assertEqual(done.returncode, 1, done.stderr)
        found = self.tree / 'build/fuzz/found-bad/crash-1'
        self.assertIn('fuzz: every call ends', done.stdout)
        self.assertIn('in Base64: eA==', done.stdout)
        self.assertIn(f'replay: {self.tree}/build/fuzz/tests/fuzz/fuzz_bad {found}\n', done.stdout)
        self.assertIn(f'keep it: cp {found} {self.tree}/tests/fuzz/corpus/bad/\n', done.stdout)
        self.assertTrue(done.stdout.endswith('\n1 passed, 1 failed\n'), done.stdout)
        self.assertEqual((self.tree / 'tests/fuzz/corpus/bad/one').read_text(encoding='utf-8'), 'x')

    def test_counts_a_finding_of_the_run_before_once_only(self):
        self.call('bad')
        self.write('straw/fuzz_bad', STRAW_FUZZER, executable=True)
        self.assertEqual(self.call('bad').returncode, 0)

    def test_shows_what_a_fuzzer_says_that_cannot_run(self):
        done = self.call('broken')
        self.assertEqual((done.returncode, done.stdout.splitlines()[-2:]), (1, ['no', '0 passed, 1 failed']))

    def test_gives_2_and_a_sentence_for_wrong_usage(self):
        for arguments, sentence in ((['worse'], "no fuzzer 'worse'; there are: bad broken good."),
                                    (['--fast'], "no option '--fast'"), (['--seconds'], '--seconds needs a number'),
                                    (['--seconds', '0'], "not '0'"), (['--seconds=x'], "not 'x'"), ([''], "no fuzzer ''")):
            with self.subTest(arguments):
                done = self.call(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertIn(sentence, done.stderr)

    def test_helps(self):
        done = self.call('--help')
        self.assertEqual(done.returncode, 0)
        self.assertIn('The fuzzers: bad broken good.', done.stdout)

    def test_gives_4_when_it_cannot_be_built(self):
        self.write('straw/ninja_fails', '')
        done = self.call('good')
        self.assertEqual((done.returncode, done.stdout), (4, ''))
        self.assertIn('session.cpp:1: error: nonsense', done.stderr)
        (self.tree / 'straw/ninja_fails').unlink()
        self.write('scripts/setup', '#!/bin/sh\nexit 4\n', executable=True)
        self.assertEqual(self.call('good').returncode, 4)


if __name__ == '__main__':
    tree.main()
