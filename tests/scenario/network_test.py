"""Names, addresses and networks that do not do what they should: deadlines hold, and other addresses are tried."""

import ast
import contextlib
import pathlib
import subprocess
import sys
import unittest

import programs
from device import Device
from programs import apart, bind_mount, deaf, run, silent_dns

LONG = ['--io-timeout', '30s']


def addresses_of(name):
    """The addresses of a name, as the system gives them in this world."""
    done = subprocess.run([sys.executable, '-c', 'import socket, sys; print([a[4][0] for a in '
                           'socket.getaddrinfo(sys.argv[1], 9, type=socket.SOCK_STREAM)])', name],
                          capture_output=True, text=True, check=True, timeout=programs.LONG)
    return ast.literal_eval(done.stdout)


class Network(programs.Scenario):
    def reaches(self, device, **more):
        done = run(*LONG, port=device.port, **more)
        self.code(done, 0)
        self.assertEqual(len(device.connections), 1)
        self.assertEqual(done.retries(), [])
        return done

    def test_a_device_is_reached_over_ipv6(self):
        with contextlib.ExitStack() as stack:
            try:
                device = stack.enter_context(Device(host='::1'))
            except OSError as e:
                raise unittest.SkipTest(f'there is no IPv6: {e}') from None
            self.reaches(device, host='::1')

    def test_a_device_is_reached_by_a_name_with_several_addresses_of_which_one_refuses(self):
        with Device() as device:
            self.reaches(device, host='localhost')

    def test_a_name_that_does_not_exist_is_a_failure_without_harm(self):
        done = run('--max-attempts', 1, '--connect-timeout', '20s', host='lamp.invalid', port=9)
        self.code(done, 1)
        self.assertIn('lamp.invalid', done.err_lines[-1])
        self.assertEqual(done.packets(), [])

    def test_a_connection_that_is_not_accepted_ends_with_the_connect_timeout(self):
        port, kept = deaf('127.0.0.1')
        self.addCleanup(lambda: [s.close() for s in kept])
        done = run('--connect-timeout', '500ms', *LONG, port=port)
        self.code(done, 1)
        self.assertEqual([r['reason'] for r in done.retries()], ['timed_out'])
        self.assertGreaterEqual(done.seconds, 1.25)
        self.assertLess(done.seconds, 20)

    def test_the_connect_timeout_is_a_second_unless_said_otherwise(self):
        port, kept = deaf('127.0.0.1')
        self.addCleanup(lambda: [s.close() for s in kept])
        done = programs.run_as_given('--device-id', 'D', '--device-host', '127.0.0.1', '--device-port', port,
                                     '--max-attempts', 1, '--no-metrics')
        self.code(done, 1)
        self.assertGreaterEqual(done.seconds, 1)
        self.assertLess(done.seconds, 20)

    @apart
    def test_a_first_address_that_is_dead_does_not_eat_the_connect_timeout(self):
        bind_mount('127.0.0.1 localhost\n127.0.0.2 lamp.test\n127.0.0.3 lamp.test\n', '/etc/hosts')
        addresses = addresses_of('lamp.test')
        if sorted(addresses) != ['127.0.0.2', '127.0.0.3']:
            raise unittest.SkipTest(f'the system gives other addresses for a name of /etc/hosts: {addresses}')
        with Device(host=addresses[1]) as device:
            _, kept = deaf(addresses[0], device.port)
            self.addCleanup(lambda: [s.close() for s in kept])
            self.reaches(device, host='lamp.test')

    @apart
    def test_the_connect_timeout_holds_under_a_dns_that_hangs(self):
        with silent_dns() as dns:
            done = run('--connect-timeout', '700ms', '--io-timeout', '20s', '--max-attempts', 1, host='lamp.example',
                       port=9)
            self.assertTrue(dns.recv(4096))
        self.code(done, 1)
        self.assertGreaterEqual(done.seconds, 0.7)
        self.assertLess(done.seconds, 12)
        self.assertEqual(done.packets(), [])

    @apart
    def test_a_dns_that_hangs_is_tried_again_like_any_connection(self):
        with silent_dns():
            done = run('--connect-timeout', '300ms', host='lamp.example', port=9)
        self.code(done, 1)
        self.assertEqual(len(done.retries()), 1)

    @apart
    def test_a_name_of_the_hosts_file_needs_no_dns(self):
        bind_mount('127.0.0.5 lamp.test\n', '/etc/hosts')
        with silent_dns(), Device(host='127.0.0.5') as device:
            self.reaches(device, host='lamp.test')

    @apart
    def test_a_connection_that_reached_itself_is_refused(self):
        ports = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range')
        try:
            ports.write_text('40000 40003')  # of this world only
        except OSError as e:
            raise unittest.SkipTest(f'{ports} cannot be written: {e}') from None
        for _ in range(20):  # nobody listens; the system gives each connection one of four ports
            done = run('--max-attempts', 1, *LONG, port=40000)
            self.code(done, 1)
            self.assertIn('connection refused', done.err_lines[-1])
            self.assertEqual(done.packets(), [])

    def test_a_simulated_device_is_toggled(self):
        done = run('--simulate', *LONG)
        self.code(done, 0)
        self.assertEqual([p['direction'] for p in done.packets()], ['send', 'recv'])
        self.assertEqual({p['outcome'] for p in done.packets()}, {'success'})


if __name__ == '__main__':
    programs.main()
