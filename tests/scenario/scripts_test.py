"""scripts/run, if what it runs is built already; building is not a matter of this test."""

import os
import pathlib
import signal
import subprocess
import unittest

import programs
from device import Device
from programs import Program

TOP = pathlib.Path(__file__).resolve().parents[2]
RUN = TOP / 'scripts' / 'run'


def built():
    """Whether scripts/run has nothing left to build."""
    folder = TOP / 'build' / 'app'
    try:
        if (folder / 'made_for').read_text(encoding='utf-8') != f'{TOP} {os.environ.get("CXX", "")}\n':
            return False
        said = subprocess.run(['ninja', '-C', folder, '-n', 'apps/toggler/toggler'], capture_output=True, text=True,
                              check=True, timeout=programs.LONG).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    return 'no work to do' in said


class Scripts(programs.Scenario):
    def setUp(self):
        if not built():
            raise unittest.SkipTest('scripts/run would have to build first')

    def test_run_without_arguments_toggles_a_simulated_device(self):
        with Program([RUN], cwd='/') as toggler:
            toggler.code = toggler.finish()
        self.code(toggler, 0)
        self.assertEqual([p['direction'] for p in toggler.packets()], ['send', 'recv'])
        self.assertEqual({p['outcome'] for p in toggler.packets()}, {'success'})

    def test_run_with_arguments_is_the_toggler_with_its_exit_code(self):
        with Device('nack') as device:
            with Program([RUN, '--device-id', 'D', '--device-host', '127.0.0.1', '--device-port', device.port,
                          '--no-metrics']) as toggler:
                toggler.code = toggler.finish()
            self.code(toggler, 1)

    def test_run_becomes_the_toggler_so_signals_are_its_own(self):
        with Device('timeout') as device:
            with Program([RUN, '--device-id', 'D', '--device-host', '127.0.0.1', '--device-port', device.port,
                          '--no-metrics', '--io-timeout', '60s']) as toggler:
                device.wait_for_requests(1)
                toggler.signal(signal.SIGINT)
                toggler.code = toggler.finish(programs.PROMPT)
            self.code(toggler, -signal.SIGINT)


if __name__ == '__main__':
    programs.main()
