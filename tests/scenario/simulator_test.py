"""The simulator, asked by the tests' own client and by the toggler."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import time

import programs
from device import Client, frame, messages_of, take_frame
from programs import run

LONG = ['--io-timeout', '30s']


class Simulator(programs.Scenario):
    @contextlib.contextmanager
    def simulator(self, *arguments, names=('D',)):
        named = [word for name in names for word in ('--device-id', name)]
        with programs.Program([programs.SIMULATOR, '--port', 0, *named, *arguments]) as program:
            program.wait_until(lambda: b'\n' in program.out or program.process.poll() is not None, 'the first line')
            first = program.out.split(b'\n')[0].decode()
            self.assertRegex(first, r'^\{"event":"listening","port":\d+\}$', f'\n{program.said()}')
            program.port = json.loads(first)['port']
            yield program
            self.assertIsNone(program.process.poll(), f'it ended before it was told to\n{program.said()}')

    def ask(self, program, count=1, **request):
        """The answers to one request."""
        with Client(program.port) as client:
            client.request(**request)
            answers = []
            data = b''
            while len(answers) < count:
                payload, data = take_frame(data)
                if payload is not None:
                    answers.append(json.loads(payload))
                    continue
                more = client.read_some(20)
                self.assertTrue(more, f'{answers} {data}\n{program.said()}')
                data += more
            return answers

    def lines(self, file):
        return [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines() if line.strip()]

    # Modes

    def test_ok_answers_with_an_ack_and_the_state(self):
        with self.simulator() as s:
            (answer,) = self.ask(s)
            self.assertEqual((answer['opcode'], answer['msg_id'], answer['state'], answer['device_id']),
                             ('ack', '0123456789abcdef', True, 'D'))
            (answer,) = self.ask(s, state=False, msg_id='f' * 16)
            self.assertEqual((answer['opcode'], answer['msg_id'], answer['state']), ('ack', 'f' * 16, False))

    def test_each_device_has_its_own_state(self):
        with self.simulator(names=('A', 'B')) as s:
            self.ask(s, device_id='A')
            self.ask(s, device_id='B', state=False)
            self.assertIs(self.ask(s, opcode='status', device_id='A')[0]['state'], True)
            self.assertIs(self.ask(s, opcode='status', device_id='B')[0]['state'], False)
            self.ask(s, device_id='B')
            self.ask(s, device_id='A', state=False)
            self.assertIs(self.ask(s, opcode='status', device_id='A')[0]['state'], False)
            self.assertIs(self.ask(s, opcode='status', device_id='B')[0]['state'], True)

    def test_a_device_that_it_does_not_play_is_refused(self):
        with self.simulator(names=('A',)) as s:
            (answer,) = self.ask(s, device_id='B')
            self.assertEqual((answer['opcode'], answer['msg_id']), ('nack', '0123456789abcdef'))
            self.assertFalse(answer.get('retryable', False))
            self.assertTrue(answer['reason'])

    def test_a_connection_takes_several_requests_and_bytes_one_by_one(self):
        with self.simulator() as s, Client(s.port) as client:
            client.request(msg_id='1' * 16)
            self.assertEqual(client.read_message()['msg_id'], '1' * 16)
            for byte in frame({'opcode': 'status', 'device_id': 'D', 'msg_id': '2' * 16}):
                client.send(bytes([byte]))
            self.assertEqual(client.read_message()['msg_id'], '2' * 16)

    def test_delay_answers_after_the_delay(self):
        with self.simulator('--mode', 'delay', '--delay', '600ms') as s, Client(s.port) as client:
            asked = time.monotonic()
            client.request()
            self.assertEqual(messages_of(client.read_some(20))[0]['opcode'], 'ack')
            self.assertGreaterEqual(time.monotonic() - asked, 0.6)

    def test_disconnect_closes_after_reading_and_reject_before(self):
        with self.simulator('--mode', 'disconnect') as s, Client(s.port) as client:
            self.assertIsNone(client.read_some(0.2))
            client.request()
            self.assertEqual(client.read_to_end(), b'')
        with self.simulator('--mode', 'reject') as s, Client(s.port) as client:
            self.assertEqual(client.read_to_end(), b'')

    def test_timeout_never_answers(self):
        with self.simulator('--mode', 'timeout') as s, Client(s.port) as client:
            client.request()
            self.assertIsNone(client.read_some(0.7))

    def test_nack_refuses_for_good_and_nack_retryable_for_now(self):
        for mode, retryable in {'nack': False, 'nack_retryable': True}.items():
            with self.subTest(mode), self.simulator('--mode', mode) as s:
                (answer,) = self.ask(s)
                self.assertEqual((answer['opcode'], answer['msg_id'], answer.get('retryable', False)),
                                 ('nack', '0123456789abcdef', retryable))
                self.assertTrue(answer['reason'])

    def test_garbage_is_neither_a_frame_nor_ack(self):
        with self.simulator('--mode', 'garbage') as s:
            seen = set()
            for _ in range(3):
                with Client(s.port) as client:
                    client.request()
                    data = client.read_some(20)
                    self.assertTrue(data)
                    self.assertNotEqual(data[:2], b'\xf0\x0d')
                    self.assertNotEqual(data[:3], b'ACK')
                    seen.add(data)
            self.assertEqual(len(seen), 3, 'random bytes differ')

    def test_unframed_is_three_bytes(self):
        with self.simulator('--mode', 'unframed') as s, Client(s.port) as client:
            client.request()
            self.assertEqual(client.read_all(), b'ACK')

    def test_partial_is_half_an_answer_and_then_the_end(self):
        with self.simulator('--mode', 'partial') as s, Client(s.port) as client:
            client.request()
            data = client.read_to_end()
            self.assertEqual(data[:3], b'\xf0\x0d\x01')
            self.assertIsNone(take_frame(data)[0])

    def test_wrong_id_answers_another_question(self):
        with self.simulator('--mode', 'wrong_id') as s:
            (answer,) = self.ask(s)
            self.assertNotEqual(answer['msg_id'], '0123456789abcdef')

    def test_duplicate_answers_twice(self):
        with self.simulator('--mode', 'duplicate') as s:
            first, second = self.ask(s, count=2)
            self.assertEqual(first, second)
            self.assertEqual(first['msg_id'], '0123456789abcdef')

    def test_a_script_has_a_mode_for_each_connection(self):
        with self.simulator('--script', 'reject,unframed,ok') as s:
            with Client(s.port) as client:
                self.assertEqual(client.read_to_end(), b'')
            with Client(s.port) as client:
                client.request()
                self.assertEqual(client.read_all(), b'ACK')
            self.assertEqual(self.ask(s)[0]['opcode'], 'ack')

    def test_bytes_that_are_no_frame_do_not_end_it(self):
        with self.simulator() as s:
            for junk in (b'GET / HTTP/1.1\r\n\r\n', b'\xf0\x0d\x01\xff\xff\xff\xff', frame(b'{'), frame(b'[]'),
                         frame({'opcode': 'ack', 'msg_id': '1' * 16}), b'\xf0'):
                with Client(s.port) as client:
                    client.send(junk)
            self.assertEqual(self.ask(s)[0]['opcode'], 'ack')

    # The ledger

    def test_the_ledger_tells_what_was_executed(self):
        file = self.folder() / 'ledger'
        with self.simulator('--ledger', file, names=('A', 'B')) as s:
            self.ask(s, device_id='A')
            self.ask(s, device_id='B', state=False)
            self.ask(s, device_id='A', opcode='status')
            entries = self.lines(file)
        self.assertEqual([(e['device_id'], e['state']) for e in entries], [('A', True), ('B', False)])

    def test_an_operation_is_executed_once_however_often_it_is_asked_for(self):
        file = self.folder() / 'ledger'
        with self.simulator('--ledger', file) as s:
            self.ask(s, msg_id='1' * 16, op_id='a' * 16)
            self.ask(s, msg_id='2' * 16, op_id='b' * 16, state=False)
            (again,) = self.ask(s, msg_id='3' * 16, op_id='a' * 16)
            self.assertEqual((again['opcode'], again['msg_id']), ('ack', '3' * 16))
            self.assertEqual([e['op_id'] for e in self.lines(file)], ['a' * 16, 'b' * 16])
            self.assertIs(self.ask(s, opcode='status')[0]['state'], False)

    def test_without_an_op_id_every_request_is_executed(self):
        file = self.folder() / 'ledger'
        with self.simulator('--ledger', file) as s:
            for n in '12':
                self.ask(s, msg_id=n * 16)
            self.assertEqual(len(self.lines(file)), 2)

    def test_a_refusal_is_not_executed_and_no_answer_does_not_mean_not_executed(self):
        for mode, entries in {'nack': 0, 'nack_retryable': 0, 'reject': 0}.items():
            with self.subTest(mode):
                file = self.folder() / 'ledger'
                with self.simulator('--ledger', file, '--mode', mode, names=('DEVICE123',)) as s:
                    self.assertNotEqual(run(*LONG, port=s.port).code, 0)
                    self.assertEqual(len(self.lines(file)) if file.exists() else 0, entries)

    def test_what_a_full_ledger_does_not_take_is_not_done(self):
        file = self.folder() / 'ledger'
        file.write_bytes(b'{}\n' * 300)
        with self.simulator('--ledger', file) as s:
            resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
            answers = [self.ask(s, msg_id=n * 16, op_id=n * 16)[0] for n in '123']
            done = [a['msg_id'] for a in answers if a['opcode'] == 'ack']
            refused = [a for a in answers if a['opcode'] == 'nack']
            self.assertEqual(len(refused), 3 - len(done))
            self.assertIn('ledger', refused[0]['reason'])
            self.assertIs(self.ask(s, opcode='status')[0]['state'], bool(done))
            self.assertEqual(len(s.err_lines), 1, s.said())
            self.assertRegex(s.err_lines[0], f'ledger.*{re.escape(str(file))}.*File too large')

            resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            again = self.ask(s, msg_id='4' * 16, op_id=refused[0]['msg_id'])[0]
            self.assertEqual(again['opcode'], 'ack')
            entries = [e['msg_id'] for e in self.lines(file) if e]
            self.assertEqual(entries, [*done, '4' * 16])

    @programs.apart
    def test_what_happens_while_its_output_is_on_a_full_disk_is_written_when_there_is_room(self):
        folder = self.folder()
        programs.small_disk(folder, 8 * 4096)
        with open(folder / 'out', 'wb') as out, programs.Program(
                [programs.SIMULATOR, '--port', 0, '--device-id', 'D'], stdout=out) as s:
            def happened():
                whole = [line for line in (folder / 'out').read_bytes().splitlines(True) if line.endswith(b'}\n')]
                return [e['msg_id'] for e in map(json.loads, whole) if e['event'] == 'executed']

            s.wait_until(lambda: (folder / 'out').stat().st_size > 0, 'the first line')
            s.port = self.lines(folder / 'out')[0]['port']
            filler = open(folder / 'filler', 'wb', buffering=0)
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b'x' * 4096)
            asked = [f'{n:016x}' for n in range(40)]
            for msg_id in asked:
                self.assertEqual(self.ask(s, msg_id=msg_id)[0]['opcode'], 'ack')
            s.wait_until(lambda: s.err_lines, 'a sentence about the disk')
            filler.truncate(0)
            filler.close()
            s.wait_until(lambda: len(happened()) == len(asked), 'the records')
            self.assertEqual(happened(), asked)
            self.assertRegex(s.err_lines[0], 'standard output.*No space left')
            self.assertEqual(len(s.err_lines), 1, s.said())

    def test_a_ledger_that_nobody_reads_any_more_is_not_acted_without(self):
        ledger = self.folder() / 'ledger'
        os.mkfifo(ledger)
        reading = os.open(ledger, os.O_RDONLY | os.O_NONBLOCK)
        with self.simulator('--ledger', ledger) as s:
            self.assertEqual(self.ask(s, msg_id='1' * 16)[0]['opcode'], 'ack')
            self.assertEqual(json.loads(os.read(reading, 4096))['msg_id'], '1' * 16)
            os.close(reading)
            for n in '23':
                self.assertEqual(self.ask(s, msg_id=n * 16, state=False)[0]['opcode'], 'nack')
            self.assertIs(self.ask(s, opcode='status')[0]['state'], True)
            s.wait_until(lambda: s.err_lines, 'a sentence about the ledger')
            self.assertEqual(len(s.err_lines), 1, s.said())
            self.assertRegex(s.err_lines[0], f'ledger.*{re.escape(str(ledger))}')

    # Together with the toggler

    def test_the_toggler_finds_each_mode_as_it_is_meant(self):
        for mode, code in {'ok': 0, 'delay': 0, 'unframed': 0, 'duplicate': 0, 'nack': 1, 'nack_retryable': 1,
                           'disconnect': 3, 'partial': 3, 'garbage': 3, 'timeout': 3, 'wrong_id': 3}.items():
            with self.subTest(mode), self.simulator('--mode', mode, '--delay', '50ms', names=('DEVICE123',)) as s:
                short = ['--io-timeout', '400ms'] if mode in ('timeout', 'wrong_id') else LONG
                self.code(run(*short, port=s.port), code)

    def test_a_script_is_played_to_the_toggler(self):
        with self.simulator('--script', 'reject,ok', names=('DEVICE123',)) as s:
            done = run(*LONG, port=s.port)
            self.code(done, 0)
            self.assertEqual(len(done.retries()), 1)

    def test_attempts_of_one_operation_are_executed_once(self):
        file = self.folder() / 'ledger'
        with self.simulator('--script', 'timeout,ok', '--ledger', file, names=('DEVICE123',)) as s:
            done = run('--io-timeout', '3s', '--op-id', port=s.port)
            self.code(done, 0)
            self.assertEqual(len(self.lines(file)), 1)

    # Beginning and end

    def test_a_signal_ends_it_promptly(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Clients() as clients:
                with programs.Program([programs.SIMULATOR, '--port', 0, '--device-id', 'D', '--mode', 'timeout']) as s:
                    s.wait_until(lambda: b'\n' in s.out, 'the first line')
                    client = clients.add(json.loads(s.out.split(b'\n')[0])['port'])
                    client.request()
                    s.signal(number)
                    s.code = s.finish(programs.PROMPT)
                    self.code(s, 0)

    def test_a_signal_ends_it_under_load_behind_an_output_that_nobody_reads(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Clients() as clients:
                reading, writing = os.pipe()
                self.addCleanup(os.close, reading)
                with programs.Program([programs.SIMULATOR, '--port', 0, '--device-id', 'D'], stdout=writing) as s:
                    os.close(writing)
                    port = json.loads(os.read(reading, 100))['port']
                    request = frame({'opcode': 'status', 'device_id': 'D', 'msg_id': '0123456789abcdef'})
                    for _ in range(200):
                        clients.add(port).send(request * 20)
                    s.wait_until_it_sleeps()
                    s.signal(number)
                    s.code = s.finish(programs.PROMPT)
                self.code(s, 0)

    def test_a_second_signal_ends_it_at_once(self):
        def seconds_after_the_second():
            with programs.full_pipe() as full:
                with programs.Program([programs.SIMULATOR, '--port', 0, '--device-id', 'D'], stdout=full) as s:
                    s.wait_until_it_sleeps()
                    s.signal(signal.SIGTERM)
                    time.sleep(0.2)  # not the same signal twice
                    s.signal(signal.SIGTERM)
                    sent = time.monotonic()
                    s.code = s.finish(programs.PROMPT)
                self.code(s, 0)
                return time.monotonic() - sent
        # After one signal it would take 0.8 s from the first. A busy machine may delay some tries.
        self.assertTrue(any(seconds_after_the_second() < 0.4 for _ in range(20)))

    def test_a_signal_ends_it_before_it_listens(self):
        ledger = self.folder() / 'ledger'
        os.mkfifo(ledger)
        for number, code in programs.SIGNALS.items():
            with self.subTest(number):
                command = [programs.SIMULATOR, '--port', 0, '--device-id', 'D', '--ledger', ledger]
                with programs.Program(command) as s:
                    s.wait_until_it_sleeps()
                    s.signal(number)
                    s.code = s.finish(programs.PROMPT)
                self.code(s, code)
                self.one_sentence(s, 'before its work began')

    def test_a_taken_port_ends_it(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            port = taken.getsockname()[1]
            with programs.Program([programs.SIMULATOR, '--port', port, '--device-id', 'D']) as s:
                s.code = s.finish()
            self.code(s, 4)
            self.one_sentence(s, rf'\b{port}\b')

    def test_what_is_wrong_with_its_settings_is_said_in_one_sentence(self):
        for arguments, words in {('--mode', 'strange'): ['--mode', 'strange', 'nack_retryable'],
                                 ('--script', 'ok,strange'): ['--script', 'strange', 'nack_retryable'],
                                 ('--port', '70000'): ['--port', '70000', '65535'],
                                 ('--delay', 'long'): ['--delay', 'long', r'\d ?m?s\b'],
                                 ('--brightness', '3'): ['--brightness']}.items():
            with self.subTest(arguments):
                port = [] if arguments[0] == '--port' else ['--port', 0]
                with programs.Program([programs.SIMULATOR, *port, '--device-id', 'D', *arguments]) as s:
                    s.code = s.finish()
                self.code(s, 2)
                self.one_sentence(s, *words)

    def test_a_ledger_that_cannot_be_opened_ends_it(self):
        file = self.folder() / 'missing' / 'ledger'
        with programs.Program([programs.SIMULATOR, '--port', 0, '--device-id', 'D', '--ledger', file]) as s:
            s.code = s.finish()
        self.code(s, 4)
        self.one_sentence(s, re.escape('missing/ledger'))


class Clients(contextlib.ExitStack):
    def add(self, port):
        return self.enter_context(Client(port))


if __name__ == '__main__':
    programs.main()
