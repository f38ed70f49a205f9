"""stdout is JSON Lines and nothing else, with all that is to be said of each packet; stderr ends with a human line."""

import contextlib
import datetime
import os
import signal
import time

import programs
from device import Device, closed_port, frame
from programs import records_of, run, start

LONG = ['--io-timeout', '30s']
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR')
OUTCOMES = ('success', 'error', 'timeout', 'closed', 'decode_error')


class Log(programs.Scenario):
    def well_formed(self, done):
        """All records have the fields that each must have, with values of the right type."""
        records = done.records()
        number = (int, float)
        for r in records:
            self.assertRegex(r['ts'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
            ts = datetime.datetime.fromisoformat(r['ts'])
            self.assertLess(abs(datetime.datetime.now(datetime.timezone.utc) - ts), datetime.timedelta(minutes=10))
            self.assertIn(r['level'], LEVELS)
            for name in ('module', 'message'):
                self.assertIsInstance(r[name], str)
                self.assertTrue(r[name], r)
            self.assertIs(type(r['line']), int)
            if r.get('event') == 'tcp_packet':
                self.assertIn(r.get('direction'), ('send', 'recv'), r)
                for name in ('msg_id', 'device_id', 'raw_packet_hex', 'correlation_id', 'op_id'):
                    self.assertIsInstance(r.get(name), str, f'{name} in {r}')
                self.assertRegex(r['raw_packet_hex'], r'^([0-9a-fA-F]{2}( [0-9a-fA-F]{2})*)?$')
                self.assertEqual(r['device_id'], 'DEVICE123')
                self.assertIsInstance(r.get('elapsed_ms'), number, f'elapsed_ms in {r}')
                self.assertGreaterEqual(r['elapsed_ms'], 0)
                self.assertIn(r.get('outcome'), OUTCOMES, r)
                self.assertIs(type(r.get('attempt')), int, r)
                self.assertGreaterEqual(r['attempt'], 1)
            if 'wait_ms' in r:
                self.assertIsInstance(r['wait_ms'], number)
                self.assertIsInstance(r.get('reason'), str, r)
                self.assertTrue(r['reason'], r)
                self.assertIs(type(r.get('attempt')), int, r)
        for name in ('correlation_id', 'op_id'):
            self.assertEqual(len({r[name] for r in records if name in r}), 1, f'{name}\n{done.said()}')
        last = done.err_lines[-1]
        self.assertNotIn('{', last)
        self.assertRegex(last, r'\d ?(ms|s|min)\b')
        self.assertRegex(last, r'\b\d+ attempts?\b|\b(first|second|only|one|two) attempts?\b')
        return records

    def against(self, *script, arguments=LONG, **more):
        with Device(*script, **more) as device:
            return run(*arguments, port=device.port), device

    def test_the_good_case_has_one_packet_sent_and_one_received(self):
        done, device = self.against('ok')
        self.code(done, 0)
        self.well_formed(done)
        (sent,), (received,) = done.packets('send'), done.packets('recv')
        for p in (sent, received):
            self.assertEqual((p['outcome'], p['level'], p['attempt'], p['msg_id']),
                             ('success', 'INFO', 1, device.requests[0]['msg_id']))
        self.assertEqual(bytes.fromhex(sent['raw_packet_hex']), device.connections[0].received)
        self.assertEqual(bytes.fromhex(received['raw_packet_hex'])[:2], b'\xf0\x0d')

    def test_all_fields_are_there_whatever_happens(self):
        for mode in ('disconnect', 'reject', 'timeout', 'nack', 'nack_retryable', 'garbage', 'unframed', 'partial',
                     'wrong_id', 'duplicate', b'\xf0\x0d\x01\x00\x00\x00\x02[]'):
            with self.subTest(mode):
                done, _ = self.against(mode, arguments=['--io-timeout', '400ms'])
                self.well_formed(done)
                self.assertEqual([p['attempt'] for p in done.packets('send')], list(range(1, len(done.retries()) + 2)))

    def test_all_fields_are_there_when_nobody_listens(self):
        held, port = closed_port()
        with held:
            done = run(port=port)
        self.well_formed(done)
        self.assertEqual([r['reason'] for r in done.retries()], ['refused'])

    def test_calls_have_different_correlation_ids(self):
        ids = {r['correlation_id'] for _ in range(2) for r in self.against('ok')[0].packets()}
        self.assertEqual(len(ids), 2)

    def test_each_attempt_is_told_with_its_own_number(self):
        done, device = self.against('disconnect', 'ok')
        self.code(done, 0)
        self.assertEqual([(p['attempt'], p['msg_id']) for p in done.packets('send')],
                         [(1, device.requests[0]['msg_id']), (2, device.requests[1]['msg_id'])])
        self.assertEqual([r['reason'] for r in done.retries()], ['closed'])

    def test_what_a_device_sends_cannot_break_a_line(self):
        done, _ = self.against(lambda q: frame({
            'opcode': 'nack', 'msg_id': q['msg_id'], 'retryable': False,
            'reason': 'line\nbreak "quoted" \x1b[31m\x00 \u2028 end'}))
        self.code(done, 1)
        self.well_formed(done)
        self.assertNotIn(b'\x1b', done.err + done.out)

    def test_a_name_that_is_hard_to_write_is_written_well(self):
        name = 'a "b" \\ é 灯'
        with Device() as device:
            done = run(*LONG, port=device.port, name=name)
        self.code(done, 0)
        self.assertEqual({p['device_id'] for p in done.packets()}, {name})

    def test_the_human_line_says_how_it_went(self):
        for mode, words in {'ok': r'\bon\b', 'nack': 'no such device', 'disconnect': r'may have|unknown'}.items():
            with self.subTest(mode):
                done, _ = self.against(mode)
                self.assertRegex(done.err_lines[-1], words)

    def test_the_level_decides_what_is_said(self):
        for level in ('WARNING', 'ERROR'):
            with self.subTest(level):
                done, _ = self.against('ok', arguments=[*LONG, '--log-level', level])
                self.code(done, 0)
                self.assertEqual(done.out, b'')
        done, _ = self.against('ok', arguments=[*LONG, '--log-level', 'DEBUG'])
        self.well_formed(done)
        self.assertIn('DEBUG', [r['level'] for r in done.records()])

    def test_text_is_for_people_and_has_no_colour_in_a_pipe(self):
        done, device = self.against('ok', arguments=[*LONG, '--log-format', 'text'])
        self.code(done, 0)
        text = done.out.decode()
        self.assertIn(device.requests[0]['msg_id'], text)
        self.assertNotIn('\x1b', text)
        self.assertFalse(any(line.startswith('{') for line in text.splitlines()))

    # Where it goes

    def test_a_reader_that_leaves_after_the_first_line_changes_nothing(self):
        with Device('disconnect', 'ok') as device:
            command = [programs.TOGGLER, '--device-id', 'D', '--device-host', '127.0.0.1', '--device-port',
                       device.port, '--no-metrics', *LONG]
            with programs.Program(['bash', '-c', '"$@" | head -1; exit ${PIPESTATUS[0]}', '_', *command]) as shell:
                shell.code = shell.finish()
            self.code(shell, 0)
            self.assertEqual(len(shell.records()), 1)
            self.assertEqual(len(device.connections), 2)
            self.assertEqual(device.states, {'D': True})

    def test_a_reader_that_has_left_before_changes_nothing(self):
        for mode, code in {'ok': 0, 'nack': 1, 'disconnect': 3}.items():
            with self.subTest(mode), Device(mode) as device, pipe_without_reader() as pipe:
                with start(*LONG, port=device.port, stdout=pipe) as toggler:
                    toggler.code = toggler.finish()
                self.code(toggler, code)
                self.assertTrue(toggler.err_lines)

    def test_standard_streams_that_are_closed_change_nothing(self):
        for closed in ('>&-', '2>&-', '>&- 2>&- <&-'):
            with self.subTest(closed), Device() as device:
                command = [programs.TOGGLER, '--device-id', 'D', '--device-host', '127.0.0.1', '--device-port',
                           device.port, '--no-metrics', *LONG]
                with programs.Program(['bash', '-c', f'"$@" {closed}', '_', *command]) as shell:
                    shell.code = shell.finish()
                self.code(shell, 0)
                self.assertEqual([c.error for c in device.connections], [None])
                self.assertEqual(device.states, {'D': True})

    def test_a_full_disk_changes_nothing_but_is_told(self):
        with Device() as device, open('/dev/full', 'wb') as full:
            with start(*LONG, port=device.port, stdout=full) as toggler:
                toggler.code = toggler.finish()
            self.code(toggler, 0)
            self.assertEqual(len(device.requests), 1)
            self.assertIn('No space left', toggler.err.decode())

    def test_a_log_file_at_its_size_limit_changes_nothing_but_is_told(self):
        file = self.folder() / 'toggler.log'
        file.write_bytes(b'{}\n' * 400)  # more than the limit
        with Device() as device:
            command = [programs.TOGGLER, '--device-id', 'D', '--device-host', '127.0.0.1', '--device-port',
                       device.port, '--no-metrics', '--log-file', file, *LONG]
            with programs.Program(['bash', '-c', 'ulimit -f 1; exec "$@"', '_', *command]) as toggler:
                toggler.code = toggler.finish()
            self.code(toggler, 0)
            self.assertEqual(len(toggler.packets()), 2)
            self.assertIn('File too large', toggler.err.decode())

    def test_a_log_file_has_the_same_lines(self):
        file = self.folder() / 'toggler.log'
        for times in (1, 2):
            done, _ = self.against('ok', arguments=[*LONG, '--log-file', file])
            self.code(done, 0)
            records = records_of(file.read_bytes())
            packets = [r['direction'] for r in records if r.get('event') == 'tcp_packet']
            self.assertEqual(packets, ['send', 'recv'] * times)

    def test_a_log_file_that_cannot_be_opened_is_told_before_anything_is_sent(self):
        file = self.folder() / 'missing' / 'toggler.log'
        with Device() as device:
            done = run('--log-file', file, port=device.port)
            self.code(done, 4)
            self.one_sentence(done, 'missing/toggler.log', 'No such file')
            self.assertEqual(device.connections, [])

    def test_a_log_file_that_was_moved_away_is_opened_anew_on_sighup(self):
        file = self.folder() / 'toggler.log'
        moved = file.with_name('toggler.log.1')
        held, port = closed_port()
        with held, start('--max-attempts', 5, '--log-file', file, port=port) as toggler:
            toggler.wait_for_record(lambda r: r.get('wait_ms', 0) >= 900, 'the third wait')
            file.rename(moved)
            toggler.signal(signal.SIGHUP)
            toggler.code = toggler.finish()
        self.code(toggler, 1)
        old, new = records_of(moved.read_bytes()), records_of(file.read_bytes())
        self.assertEqual([r['attempt'] for r in old + new if 'wait_ms' in r], [1, 2, 3, 4])
        self.assertTrue(new)


    def test_a_log_file_is_its_owners_and_one_that_is_there_keeps_its_mode(self):
        file = self.folder() / 'toggler.log'
        for mode in (0o600, 0o644):
            self.code(self.against('ok', arguments=[*LONG, '--log-file', file])[0], 0)
            self.assertEqual(file.stat().st_mode & 0o777, mode)
            file.chmod(0o644)

    def test_a_piece_of_a_record_that_an_earlier_run_left_is_a_line_of_its_own(self):
        file = self.folder() / 'toggler.log'
        file.write_bytes(b'{"a":1}\n{"ts":"20')
        self.code(self.against('ok', arguments=[*LONG, '--log-file', file])[0], 0)
        lines = file.read_bytes().split(b'\n')
        self.assertEqual(lines[1], b'{"ts":"20')
        self.assertEqual(len([r for r in records_of(b'\n'.join(lines[2:])) if r.get('event') == 'tcp_packet']), 2)

    # Places that are slow, full or gone for a while

    def test_a_stdout_that_nobody_reads_changes_nothing(self):
        file = self.folder() / 'toggler.log'
        for mode, code in {'ok': 0, 'nack': 1, 'disconnect': 3}.items():
            with self.subTest(mode), Device(mode) as device, programs.full_pipe() as full:
                with start(*LONG, '--log-file', file, '--max-attempts', 1, port=device.port, stdout=full) as toggler:
                    toggler.code = toggler.finish(programs.PROMPT)
                self.code(toggler, code)
                self.assertEqual(len(toggler.err_lines), 1, toggler.said())
        records = records_of(file.read_bytes())
        self.assertEqual(len([r for r in records if r.get('event') == 'call']), 3)

    def test_a_reader_that_stops_for_a_while_gets_whole_lines_in_the_end(self):
        file = self.folder() / 'fifo'
        os.mkfifo(file)
        with Device('timeout') as device, programs.Program(['cat', file]) as cat:
            with start('--io-timeout', '60s', '--log-file', file, port=device.port) as toggler:
                device.wait_for_requests(1)
                cat.signal(signal.SIGSTOP)
                toggler.signal(signal.SIGTERM)
                toggler.code = toggler.finish(programs.PROMPT)
                self.code(toggler, 143)
            cat.signal(signal.SIGCONT)
            cat.code = cat.finish()
        self.assertEqual(cat.records(), toggler.records())

    @programs.apart
    def test_a_disk_that_fills_and_empties_twice_gets_the_records_in_lines_of_their_own(self):
        folder = self.folder()
        programs.small_disk(folder, 8 * 4096)
        file, block = folder / 'toggler.log', folder / 'block'
        held, port = closed_port()
        fill(block)
        with held, start('--max-attempts', 5, '--log-file', file, port=port) as toggler:
            for times in (1, 2):
                fill(block)
                if file.exists() and file.stat().st_size % 4096:  # its last page as well
                    room = -file.stat().st_size % 4096
                    with open(file, 'ab', buffering=0) as f:
                        f.write(b'\n'.rjust(room))
                toggler.wait_until(lambda n=times: toggler.err.count(b'No space left') == n, f'trouble {times}')
                block.unlink()
                toggler.wait_for_record(lambda r, n=times: 'wait_ms' in r and r['attempt'] == 2 * n, 'a further attempt')
                self.wait_for_lines(file, len(toggler.records(whole=False)))
            toggler.code = toggler.finish()
        self.code(toggler, 1)
        lines = [line for line in file.read_bytes().splitlines(keepends=True) if line.strip()]
        torn = [line for line in lines if not line.endswith(b'}\n')]
        self.assertLessEqual(len(torn), 2)
        self.assertEqual(records_of(b''.join(line for line in lines if line not in torn)), toggler.records())

    def wait_for_lines(self, file, count):
        until = time.monotonic() + programs.LONG
        while file.read_bytes().count(b'}\n') < count:
            self.assertLess(time.monotonic(), until, 'the file does not get the records')
            time.sleep(0.05)

    @programs.apart
    def test_a_file_opened_anew_gets_what_a_full_disk_did_not_take(self):
        small, large = self.folder(), self.folder()
        programs.small_disk(small, 4096)
        fill(small / 'block')
        file = small / 'toggler.log'
        held, port = closed_port()
        with held, start('--max-attempts', 5, '--log-file', file, port=port) as toggler:
            toggler.wait_until(lambda: b'No space left' in toggler.err, 'trouble')
            file.unlink()
            file.symlink_to(large / 'toggler.log')
            toggler.signal(signal.SIGHUP)
            toggler.code = toggler.finish()
        self.code(toggler, 1)
        self.assertEqual(records_of((large / 'toggler.log').read_bytes()), toggler.records())

    def test_a_dry_run_that_nobody_can_read_is_none(self):
        with open('/dev/full', 'wb') as full:
            with programs.Program([programs.TOGGLER, '--device-id', 'D', '--dry-run'], stdout=full) as toggler:
                toggler.code = toggler.finish()
        self.code(toggler, 4)
        self.assertRegex(toggler.err_lines[-1], 'standard output: No space left')


def fill(file):
    """Takes all the room that there is."""
    with contextlib.suppress(OSError), open(file, 'wb', buffering=0) as f:
        while True:
            f.write(bytes(4096))


def pipe_without_reader():
    """The writing end of a pipe whose reading end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, 'wb')


if __name__ == '__main__':
    programs.main()
