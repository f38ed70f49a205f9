"""A small tree to plant violations in, and how the checks and scripts are run on it."""

import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77

MESON = """
    project('planted', 'cpp', default_options: ['cpp_std=c++20'])
    include = include_directories('lib')
    install_headers({headers})
    sources = files({sources})
    lib = library('planted', sources, include_directories: include)
    foreach t : [{tests}]
      test('t', executable('t_test', t, include_directories: include))
    endforeach
"""


def quoted(paths):
    return ', '.join(f"'{p}'" for p in paths)


class Planted(unittest.TestCase):
    """A test of one gate: `clean` must pass it, and a tree with a violation must not."""

    check = ''

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name).resolve()
        for name in ('.clang-format', '.clang-tidy'):
            self.write(name, (ROOT / name).read_text(encoding='utf-8'))

    def write(self, path, content, executable=False):
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content).lstrip('\n'), encoding='utf-8')
        if executable:
            file.chmod(0o755)
        return file

    def meson(self, headers=(), sources=(), tests=()):
        self.write('meson.build', MESON.format(headers=quoted(headers), sources=quoted(sources), tests=quoted(tests)))

    def run_check(self):
        done = subprocess.run([ROOT / 'scripts' / 'checks' / self.check, '--root', self.tree], capture_output=True,
                              text=True, check=False)
        if done.returncode == SKIPPED:
            self.skipTest(done.stdout.strip())
        return done

    def passes(self):
        done = self.run_check()
        self.assertEqual((done.returncode, done.stdout), (0, ''), done.stderr)

    def finds(self, *sentences):
        """Each sentence stands in a line of its own, and there are no other lines."""
        done = self.run_check()
        lines = done.stdout.splitlines()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for sentence in sentences:
            self.assertTrue(any(sentence in line for line in lines), f'not found: {sentence}\nin:\n{done.stdout}')
        self.assertEqual(len(lines), len(sentences), done.stdout)


def main():
    """As unittest.main, but a run in which everything is skipped is told to Meson as skipped."""
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if result.wasSuccessful() and len(result.skipped) == result.testsRun:
        print(result.skipped[0][1] if result.skipped else 'no tests')
        sys.exit(SKIPPED)
    sys.exit(not result.wasSuccessful())
