#!/usr/bin/env python3
"""The scripts that people call, with a Meson, a Ninja and an app of straw: what is said where, and which code comes out."""

import os
import shutil
import signal
import subprocess

import tree

STRAW_MESON = """
    #!/bin/sh
    echo "meson $*" >> "$STRAW/calls"
    test ! -e "$STRAW/meson_fails" || { echo "no compiler here"; exit 1; }
    mkdir -p "$2"
"""
STRAW_NINJA = """
    #!/bin/sh
    echo "ninja $*" >> "$STRAW/calls"
    for word; do target=$word; test "$word" != -n || dry=yes; done
    test ! -e "$2/$target" || test -e "$STRAW/ninja_fails" || { echo "ninja: no work to do."; exit 0; }
    test -z "$dry" || exit 0
    test ! -e "$STRAW/ninja_fails" || { echo "main.cpp:1: error: nonsense"; exit 1; }
    mkdir -p "$2/$(dirname "$target")"
    cp "$STRAW/app" "$2/$target"
"""
STRAW_APP = """
    #!/usr/bin/env bash
    trap 'exit 143' TERM
    printf '[%s]\\n' "$@"
    case ${1:-} in code) exit "$2" ;; wait) echo ready; while :; do read -r -t 1 _ < <(:); done ;; esac
"""


class Scripts(tree.Planted):
    def setUp(self):
        super().setUp()
        (self.tree / 'scripts').mkdir()
        for name in ('app', 'build', 'run', 'tally'):
            shutil.copy(tree.ROOT / 'scripts' / name, self.tree / 'scripts' / name)
        self.write('scripts/setup', '#!/bin/sh\n', executable=True)
        self.write('straw/meson', STRAW_MESON, executable=True)
        self.write('straw/ninja', STRAW_NINJA, executable=True)
        self.write('straw/app', STRAW_APP, executable=True)
        self.write('meson.build', "project('cleat', 'cpp',\n  version: '7.8.9',\n)\n")
        for name in ('toggler', 'simulator'):
            self.write(f'apps/{name}/meson.build', '')
            self.write(f'apps/{name}/help.txt', f'Usage: {name} [OPTIONS]\n')
        self.environment = dict(os.environ, STRAW=str(self.tree / 'straw'),
                                PATH=f'{self.tree / "straw"}:{os.environ["PATH"]}')

    def call(self, script, *arguments):
        return subprocess.run([self.tree / 'scripts' / script, *arguments], env=self.environment, capture_output=True,
                              text=True, check=False, cwd='/')

    def calls(self):
        return (self.tree / 'straw/calls').read_text(encoding='utf-8').splitlines()

    def test_builds_once_and_then_says_nothing(self):
        first = self.call('app', 'toggler', 'a b', '')
        self.assertEqual((first.returncode, first.stdout), (0, '[a b]\n[]\n'))
        self.assertIn('building toggler', first.stderr)
        second = self.call('app', 'toggler', 'c')
        self.assertEqual((second.returncode, second.stdout, second.stderr), (0, '[c]\n', ''))
        self.assertEqual(len([c for c in self.calls() if c.startswith('meson')]), 1)

    def test_gives_the_code_of_the_app(self):
        self.assertEqual(self.call('app', 'toggler', 'code', '3').returncode, 3)

    def test_becomes_the_app_so_that_signals_reach_it(self):
        self.call('app', 'toggler')
        with subprocess.Popen([self.tree / 'scripts/app', 'toggler', 'wait'], env=self.environment,
                              stdout=subprocess.PIPE, text=True) as app:
            while app.stdout.readline() != 'ready\n':
                pass
            app.send_signal(signal.SIGTERM)
            self.assertEqual(app.wait(timeout=10), 143)

    def interrupted_while_it_builds(self, ninja, interrupt):
        """The end of scripts/run, and what it said, if `interrupt(run)` comes while this Ninja builds."""
        os.mkfifo(self.tree / 'straw/building')
        self.write('straw/ninja', STRAW_NINJA.replace('mkdir -p', f'{ninja}; mkdir -p'), executable=True)
        with subprocess.Popen([self.tree / 'scripts/run'], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
            with open(self.tree / 'straw/building', encoding='utf-8') as building:  # opens when it builds
                interrupt(run)
                building.read()
            out, errors = run.communicate(timeout=20)
        return run.returncode, out, errors

    def test_dies_of_ctrl_c_while_it_builds(self):
        stopped = 'trap "exit 2" INT; exec 3>"$STRAW/building"; while :; do sleep 0.1; done'
        code, out, errors = self.interrupted_while_it_builds(
            stopped, lambda run: os.killpg(run.pid, signal.SIGINT))
        self.assertEqual((code, out), (-signal.SIGINT, ''), errors)
        self.assertNotIn('failed', errors)

    def test_starts_nothing_if_it_alone_was_interrupted_while_it_built(self):
        goes_on = 'exec 3>"$STRAW/building"; read -r _ < "$STRAW/go"; exec 3>&-'
        os.makedirs(self.tree / 'straw', exist_ok=True)
        os.mkfifo(self.tree / 'straw/go')

        def interrupt(run):
            run.send_signal(signal.SIGINT)
            (self.tree / 'straw/go').write_text('\n', encoding='utf-8')
        code, out, errors = self.interrupted_while_it_builds(goes_on, interrupt)
        self.assertEqual((code, out), (-signal.SIGINT, ''), errors)
        self.assertTrue((self.tree / 'build/app/apps/toggler/toggler').exists(), 'it was built')

    def test_run_is_the_toggler_and_toggles_a_simulated_device_by_default(self):
        self.assertEqual(self.call('run').stdout, '[--simulate]\n')
        self.assertEqual(self.call('run', '--status').stdout, '[--status]\n')

    def test_names_the_apps_when_it_does_not_know_one(self):
        for arguments in ((), ('gateway',), ('',), ('toggler simulator',)):
            with self.subTest(arguments):
                done = self.call('app', *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertIn('simulator toggler.', done.stderr)

    def test_help_and_version_are_answered_on_a_machine_without_compilers(self):
        self.write('scripts/setup', '#!/bin/sh\necho installing >&2\nexit 1\n')
        for script, name in (('run', 'toggler'), ('app', 'simulator')):
            of = (name,) if script == 'app' else ()
            for words in (('--help',), ('-h',), ('--state', 'off', '--help')):
                with self.subTest(script, words=words):
                    done = self.call(script, *of, *words)
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f'Usage: {name} [OPTIONS]\n', ''))
            done = self.call(script, *of, '--version')
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f'{name} 7.8.9\n', ''))
        done = self.call('app', '--help')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('The apps: simulator toggler.', done.stdout)
        self.assertFalse((self.tree / 'build').exists())
        self.assertFalse((self.tree / 'straw/calls').exists())

    def test_help_into_a_full_disk_gives_4(self):
        for words in (('--help',), ('--version',)):
            with self.subTest(words), open('/dev/full', 'wb') as full:
                done = subprocess.run([self.tree / 'scripts/run', *words], env=self.environment, stdout=full,
                                      stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, 4)

    def test_each_script_that_people_call_answers_help_before_it_does_anything(self):
        for name in ('bench', 'check', 'fuzz', 'setup', 'sim', 'test'):
            shutil.copy(tree.ROOT / 'scripts' / name, self.tree / 'scripts' / name)
        shutil.copytree(tree.ROOT / 'apps/bench/compare', self.tree / 'apps/bench/compare')
        setup = (self.tree / 'scripts/setup').read_text(encoding='utf-8')
        for name in ('bench', 'check', 'fuzz', 'setup', 'sim', 'test'):
            with self.subTest(name):
                self.write('scripts/setup', setup if name == 'setup' else '#!/bin/sh\nexit 1\n', executable=True)
                done = self.call(name, '--help')
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertIn(f'scripts/{name}', done.stdout)
        self.assertFalse((self.tree / 'build').exists())

    def test_gives_4_and_the_end_of_the_log_when_it_cannot_be_built(self):
        self.write('straw/ninja_fails', '')
        done = self.call('app', 'toggler')
        self.assertEqual((done.returncode, done.stdout), (4, ''))
        self.assertIn('main.cpp:1: error: nonsense', done.stderr)
        (self.tree / 'straw/ninja_fails').unlink()
        self.assertEqual(self.call('app', 'toggler').returncode, 0)

    def test_gives_4_when_it_cannot_be_configured_and_starts_anew_the_next_time(self):
        self.write('straw/meson_fails', '')
        done = self.call('app', 'toggler')
        self.assertEqual(done.returncode, 4)
        self.assertIn('no compiler here', done.stderr)
        (self.tree / 'straw/meson_fails').unlink()
        self.assertEqual(self.call('app', 'toggler').returncode, 0)

    def test_gives_4_when_something_is_missing(self):
        self.write('scripts/setup', '#!/bin/sh\nexit 1\n')
        self.assertEqual(self.call('app', 'toggler').returncode, 4)

    def test_makes_the_build_folder_anew_for_another_compiler_or_another_place(self):
        self.call('app', 'toggler')
        self.environment['CXX'] = 'other'
        self.call('app', 'toggler')
        self.assertEqual(len([c for c in self.calls() if c.startswith('meson')]), 2)

    def test_one_builds_and_the_others_wait(self):
        slow = STRAW_NINJA.replace('cp ', 'read -r _ < "$STRAW/go"; cp ')
        self.write('straw/ninja', slow)
        os.mkfifo(self.tree / 'straw/go')
        both = [subprocess.Popen([self.tree / 'scripts/app', 'toggler', str(i)], env=self.environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in (1, 2)]
        with open(self.tree / 'straw/go', 'w', encoding='utf-8') as go:  # opens when the first one builds
            go.write('\n')
        said = [app.communicate(timeout=20) for app in both]
        self.assertEqual([out for out, _ in said], ['[1]\n', '[2]\n'])
        self.assertEqual(len([c for c in self.calls() if c.startswith('ninja') and ' -n ' not in c]), 1)

    def test_adds_up_what_meson_counted(self):
        for folder, results in (('one', ('OK', 'OK', 'SKIP')), ('two', ('OK', 'FAIL', 'TIMEOUT'))):
            self.write(f'{folder}/meson-logs/testlog.json',
                       ''.join('{"name": "t", "result": "%s"}\n' % r for r in results))
        one, two = self.tree / 'one', self.tree / 'two'
        self.assertEqual(self.call('tally', one).stdout, '2 passed, 0 failed, 1 skipped\n')
        self.assertEqual(self.call('tally', one, two).stdout, '3 passed, 2 failed, 1 skipped\n')
        self.assertEqual(self.call('tally', self.tree / 'not_built').stdout, '0 passed, 1 failed\n')


if __name__ == '__main__':
    tree.main()
