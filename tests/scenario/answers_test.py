"""What the toggler makes of every answer, and of none: exit code, connections, waits, exact bytes."""

import json

import programs
from device import Device, ack, closed_port, frame
from programs import HEX16, run

SHORT = ['--io-timeout', '400ms']  # where no answer is to come
LONG = ['--io-timeout', '30s']  # where one is, on the slowest machine


class Answers(programs.Scenario):
    def against(self, *script, arguments=(), **more):
        """(the toggler's run, the device) with this script."""
        with Device(*script, **more) as device:
            done = run(*arguments, port=device.port)
            for c in device.connections:
                self.assertIsNone(c.error, f'\n{done.said()}')
            return done, device

    def good(self, *script, connections=1, **more):
        done, device = self.against(*script, arguments=[*LONG, *more.pop('arguments', ())], **more)
        self.code(done, 0)
        self.assertEqual(len(device.connections), connections, f'\n{done.said()}')
        return done, device

    def waits(self, done, *ranges):
        """The logged waits before further attempts."""
        waits = [r['wait_ms'] for r in done.retries()]
        self.assertEqual(len(waits), len(ranges), f'\n{done.said()}')
        for wait, (low, high) in zip(waits, ranges):
            self.assertGreaterEqual(wait, low)
            self.assertLessEqual(wait, high)
        return waits

    def gaps(self, device, waits):
        """From what the device did to the next connection it took at least so long; how much longer depends on the
        machine."""
        for before, after, wait in zip(device.connections, device.connections[1:], waits):
            gap = (after.opened - before.acted) * 1000
            self.assertGreaterEqual(gap, wait - 1)
            self.assertLess(gap, wait + 15000)

    # Good answers

    def test_an_ack_is_done_at_the_first_attempt(self):
        done, device = self.good('ok')
        self.assertEqual(device.states, {'DEVICE123': True})
        self.waits(done)

    def test_an_answer_that_takes_its_time_is_waited_for(self):
        done, _ = self.good('delay', delay=0.5)
        (received,) = done.packets('recv')
        self.assertGreaterEqual(received['elapsed_ms'], 250)  # it may have been late to note that it has asked

    def test_an_answer_that_comes_byte_by_byte_is_put_together(self):
        done, _ = self.good('drip')
        self.assertEqual(len(done.packets('recv')), 1)

    def test_a_second_copy_of_the_answer_does_no_harm(self):
        self.good('duplicate')

    def test_the_three_bytes_of_old_devices_are_success_with_a_warning(self):
        done, device = self.good('unframed')
        self.assertEqual(len(device.requests), 1)
        (received,) = done.packets('recv')
        self.assertEqual((received['reply'], received['level'], received['outcome'], received['raw_packet_hex'].upper()),
                         ('unframed', 'WARNING', 'success', '41 43 4B'))

    # Answers that are no

    def test_a_nack_is_an_answer_and_not_tried_again(self):
        done, device = self.against('nack', arguments=LONG)
        self.code(done, 1)
        self.assertEqual(len(device.connections), 1)
        self.waits(done)
        self.assertIn('no such device', done.err_lines[-1])

    def test_a_nack_that_allows_it_is_tried_again(self):
        done, device = self.against('nack_retryable', arguments=LONG)
        self.code(done, 1)
        self.assertEqual(len(device.connections), 2)
        self.gaps(device, self.waits(done, (250, 350)))

    def test_a_nack_that_allows_it_and_then_an_ack_is_success(self):
        done, device = self.good('nack_retryable', 'ok', connections=2)
        self.waits(done, (250, 350))
        self.assertEqual(device.states, {'DEVICE123': True})

    # Answers that are none

    def test_no_answer_is_tried_again_and_the_outcome_is_unknown(self):
        done, device = self.against('timeout', arguments=SHORT)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 2)
        (wait,) = self.waits(done, (250, 350))
        self.assertGreaterEqual(done.seconds, 0.4 + wait / 1000 + 0.4)
        self.assertEqual([p['outcome'] for p in done.packets('recv')], ['timeout', 'timeout'])

    def test_an_attempt_ends_after_the_io_timeout_and_not_before(self):
        done, device = self.against('timeout', arguments=[*SHORT, '--max-attempts', 1])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)
        self.assertGreaterEqual(done.seconds, 0.4)
        self.assertLess(done.seconds, 15)
        self.assertGreaterEqual(done.packets('recv')[0]['elapsed_ms'], 350)

    def test_a_connection_closed_instead_of_an_answer_is_tried_again_and_the_outcome_is_unknown(self):
        done, device = self.against('disconnect', arguments=LONG)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 2)
        self.gaps(device, self.waits(done, (250, 350)))
        self.assertEqual([p['outcome'] for p in done.packets('recv')], ['closed', 'closed'])

    def test_a_connection_closed_at_once_is_tried_again_and_is_unknown_only_if_something_was_sent(self):
        done, device = self.against('reject', arguments=LONG)
        sent = [p for p in done.packets('send') if p['outcome'] == 'success']
        self.code(done, 3 if sent else 1)
        self.assertEqual(len(device.connections), 2)
        self.gaps(device, self.waits(done, (250, 350)))

    def test_half_an_answer_is_tried_again_and_the_outcome_is_unknown(self):
        done, device = self.against('partial', arguments=LONG)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 2)
        self.gaps(device, self.waits(done, (250, 350)))

    def test_an_answer_to_another_question_is_skipped_and_counted_and_then_there_is_none(self):
        done, device = self.against('wrong_id', arguments=['--io-timeout', '1500ms'])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 2)
        received = done.packets('recv')
        self.assertEqual([p['outcome'] for p in received if p['outcome'] == 'timeout'], ['timeout', 'timeout'])
        strange = [p for p in received if p['msg_id'] == 'feedfeedfeedfeed']
        self.assertEqual([p['outcome'] for p in strange], ['error', 'error'], f'\n{done.said()}')

    def test_an_answer_to_another_question_does_not_hide_the_right_one(self):
        self.good(lambda q: frame(ack(q | {'msg_id': 'feedfeedfeedfeed'}, True)) + frame(ack(q, True)))

    def test_a_frame_that_is_no_answer_does_not_hide_the_answer_behind_it(self):
        first = {'an empty one': frame(b''), 'no JSON': frame(b'{'), 'no object': frame(b'[]'),
                 'an unknown opcode': frame({'opcode': 'heartbeat', 'device_id': 'DEVICE123'}),
                 'no number': frame({'opcode': 'ack', 'state': True}),
                 'a number of another type': frame({'opcode': 'ack', 'msg_id': 7}),
                 'no answer': frame({'opcode': 'status', 'device_id': 'DEVICE123', 'msg_id': 'feedfeedfeedfeed'})}
        for what, stray in first.items():
            with self.subTest(what):
                done, _ = self.good(lambda q, stray=stray: stray + frame(ack(q, True)))
                self.assertEqual(len(done.packets('recv')), 2)

    def test_an_unknown_opcode_with_our_number_is_an_answer_that_cannot_be_read(self):
        done, device = self.against(lambda q: frame({'opcode': 'maybe', 'msg_id': q['msg_id']}), arguments=LONG)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)

    def test_fields_that_nobody_declared_may_hold_anything(self):
        for what in (b'1e99999999999', b'"\\ud83d"', b'"f\xfcr"', b'NaN', b'[{"a":[1e400]}]', b'[' * 200 + b']' * 200):
            with self.subTest(what):
                self.good(lambda q, what=what: frame(frame(ack(q, True))[7:-1] + b',"note":' + what + b'}'))

    def test_a_nack_is_a_refusal_whatever_its_hints_look_like(self):
        for hints in (b'"retryable":true,"retry_after_ms":-1', b'"retryable":true,"retry_after_ms":500.0',
                      b'"retryable":true,"retry_after_ms":4294967296', b'"retryable":"yes"', b'"reason":"f\xfcr"',
                      b'"reason":"\\ud83d"', b'"state":"off","device_id":7', b'"reason":' + b'[' * 40 + b']' * 40):
            with self.subTest(hints):
                done, _ = self.against(
                    lambda q, hints=hints: frame(b'{"opcode":"nack","msg_id":"%s",' % q['msg_id'].encode() + hints + b'}'),
                    arguments=LONG)
                self.code(done, 1)
                self.assertIn('rejected', done.err_lines[-1])

    def test_a_wait_that_is_asked_for_and_too_long_is_named_and_not_slept(self):
        for ms, words in ((2147483647, '24.8 days'), (4294967295, '49.7 days')):
            with self.subTest(ms):
                done, device = self.against(
                    lambda q, ms=ms: frame({'opcode': 'nack', 'msg_id': q['msg_id'], 'reason': 'busy', 'retryable': True,
                                            'retry_after_ms': ms}), arguments=LONG)
                self.code(done, 1)
                self.assertEqual(len(device.connections), 1)
                self.assertIn(f'a wait of {words}', done.err_lines[-1])

    def test_a_flood_of_stray_frames_costs_a_few_records_and_ends_the_connection(self):
        stray = frame({'opcode': 'ack', 'msg_id': 'feedfeedfeedfeed'})
        done, device = self.against(lambda _: stray * 30000, arguments=[*LONG, '--max-attempts', 1])
        self.code(done, 3)
        self.assertIn('stray frames in a row', done.err_lines[-1])
        self.assertLess(len(done.records()), 40)
        self.assertEqual(len([p for p in done.packets('recv') if p['msg_id'] == 'feedfeedfeedfeed']), 10)
        self.assertEqual(sum(r['more'] for r in done.records() if r.get('event') == 'frames_passed_over'), 9990)

    def test_random_bytes_are_a_decode_error_and_not_tried_again(self):
        done, device = self.against('garbage', arguments=LONG)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)
        self.waits(done)
        (received,) = [p for p in done.packets('recv') if p['raw_packet_hex']]
        self.assertEqual(received['outcome'], 'decode_error')
        self.assertRegex(received['raw_packet_hex'], r'^17 ')

    def test_frames_that_are_wrong_are_decode_errors_and_not_tried_again(self):
        wrong = {'an unknown version': b'\xf0\x0d\x02\x00\x00\x00\x02{}',
                 'over the limit': b'\xf0\x0d\x01\x00\x01\x00\x01',
                 'far over the limit': b'\xf0\x0d\x01\xff\xff\xff\xff{}',
                 'half the magic': b'\xf0\xf0\x0d\x01',
                 'unframed, but not ACK': b'NAK',
                 'ACK and more': b'ACKNOWLEDGED'}
        for what, answer in wrong.items():
            with self.subTest(what):
                done, device = self.against(answer, arguments=LONG)
                self.code(done, 3)
                self.assertEqual(len(device.connections), 1)
                self.assertIn('decode_error', [p['outcome'] for p in done.packets('recv')])

    def test_a_port_that_is_closed_is_tried_again_and_nothing_was_done(self):
        held, port = closed_port()
        with held:
            done = run(port=port)
        self.code(done, 1)
        self.waits(done, (250, 350))
        self.assertGreaterEqual(done.seconds, 0.25)
        self.assertEqual(done.packets('send'), [])

    def test_the_worst_of_the_attempts_decides(self):
        with Device('timeout') as device:
            with programs.start('--io-timeout', '2s', port=device.port) as toggler:
                device.wait_for_requests(1)
                device.stop_listening()
                toggler.code = toggler.finish()
            self.code(toggler, 3)
            self.assertEqual(len(device.connections), 1)
            (retry,) = toggler.retries()
            self.assertEqual(retry['reason'], 'timed_out')

    def test_an_unknown_outcome_and_then_a_no_is_still_unknown(self):
        done, device = self.against('disconnect', 'nack', arguments=LONG)
        self.code(done, 3)
        self.assertEqual(len(device.connections), 2)

    # How often

    def test_waits_double(self):
        done, device = self.against('disconnect', arguments=[*LONG, '--max-attempts', 3])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 3)
        self.gaps(device, self.waits(done, (250, 350), (500, 600)))

    def test_waits_differ_from_run_to_run(self):
        held, port = closed_port()
        with held:
            waits = {self.waits(run(port=port), (250, 350))[0] for _ in range(4)}
        self.assertGreater(len(waits), 1)

    def test_one_attempt_means_no_other(self):
        done, device = self.against('disconnect', arguments=[*LONG, '--max-attempts', 1])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)
        self.waits(done)

    def test_the_last_of_three_attempts_succeeds(self):
        done, device = self.good('reject', 'disconnect', 'ok', connections=3, arguments=['--max-attempts', 3])
        self.waits(done, (250, 350), (500, 600))
        self.assertRegex(done.err_lines[-1], r'\b3\b.*attempts')

    # On the wire

    def test_the_payload_is_exactly_the_four_fields_that_old_devices_know(self):
        done, device = self.good('ok')
        (c,) = device.connections
        msg_id = device.requests[0]['msg_id']
        self.assertRegex(msg_id, r'^[0-9a-f]{16}$')
        payload = '{"opcode":"toggle","device_id":"DEVICE123","msg_id":"%s","state":true}' % msg_id
        self.assertEqual(c.received, frame(payload.encode()))
        (sent,) = done.packets('send')
        self.assertEqual(bytes.fromhex(sent['raw_packet_hex']), c.received)

    def test_off_is_false(self):
        for word, state in {'off': False, 'false': False, '0': False, 'on': True, 'true': True, '1': True}.items():
            with self.subTest(word):
                _, device = self.good('ok', arguments=['--state', word])
                self.assertIs(device.requests[0]['state'], state)

    def test_a_name_that_needs_escaping_arrives_whole(self):
        for name in ('lamp "7" \\ é 灯', 'x' * 128):
            with self.subTest(name), Device() as device:
                self.code(run(*LONG, port=device.port, name=name), 0)
                self.assertEqual(device.requests[0]['device_id'], name)

    def test_each_attempt_has_its_own_msg_id_and_no_op_id(self):
        _, device = self.good('disconnect', 'nack_retryable', 'ok', connections=3, arguments=['--max-attempts', 3])
        self.assertEqual(len({q['msg_id'] for q in device.requests}), 3)
        for q in device.requests:
            self.assertEqual(set(q), {'opcode', 'device_id', 'msg_id', 'state'})
            self.assertTrue(HEX16.fullmatch(q['msg_id']), q)

    def test_op_id_is_the_same_in_all_attempts_and_in_the_log(self):
        done, device = self.good('disconnect', 'nack_retryable', 'ok', connections=3,
                                 arguments=['--max-attempts', 3, '--op-id'])
        self.assertEqual([set(q) for q in device.requests], [{'opcode', 'device_id', 'msg_id', 'state', 'op_id'}] * 3)
        self.assertEqual(len({q['msg_id'] for q in device.requests}), 3)
        (op_id,) = {q['op_id'] for q in device.requests}
        self.assertTrue(op_id)
        self.assertEqual({p['op_id'] for p in done.packets()}, {op_id})

    def test_op_ids_of_two_calls_differ(self):
        with Device() as device:
            for _ in range(2):
                self.code(run('--op-id', *LONG, port=device.port), 0)
            self.assertEqual(len({q['op_id'] for q in device.requests}), 2)

    def test_status_asks_and_does_not_act(self):
        done, device = self.good('ok', arguments=['--status'])
        (c,) = device.connections
        msg_id = device.requests[0]['msg_id']
        self.assertEqual(c.received, frame(b'{"opcode":"status","device_id":"DEVICE123","msg_id":"%s"}'
                                           % msg_id.encode()))
        self.assertEqual(device.states, {})
        self.assertRegex(done.err_lines[-1], r'\boff\b')

    def test_a_dry_run_prints_the_frame_and_connects_nowhere(self):
        with Device() as device:
            done = run('--dry-run', '--state', 'off', port=device.port)
            self.code(done, 0)
            self.assertEqual(device.connections, [])
        (record,) = [r for r in done.records() if 'raw_packet_hex' in r]
        self.assertRegex(record['raw_packet_hex'], r'^[0-9a-fA-F]{2}( [0-9a-fA-F]{2})+$')
        shown = bytes.fromhex(record['raw_packet_hex'])
        message = json.loads(shown[7:])
        self.assertEqual(shown, frame(shown[7:]))
        self.assertEqual(message | {'msg_id': ''},
                         {'opcode': 'toggle', 'device_id': 'DEVICE123', 'msg_id': '', 'state': False})

    def test_a_dry_run_needs_no_device_that_can_be_found(self):
        self.code(run('--dry-run', host='nowhere.invalid', port=9), 0)

    # How long

    def test_the_deadline_is_over_all_attempts(self):
        done, device = self.against('timeout', arguments=['--io-timeout', '60s', '--deadline', '700ms'])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)
        self.assertGreaterEqual(done.seconds, 0.7)
        self.assertLess(done.seconds, 20)
        self.assertIn('timed out', done.err_lines[-1])

    def test_the_attempts_have_the_time_that_they_need_unless_a_deadline_is_given(self):
        done, device = self.against('timeout', arguments=['--io-timeout', '4s', '--max-attempts', 3])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 3)
        self.assertGreaterEqual(done.seconds, 12)

    # Words that others have chosen

    def test_an_ack_that_names_another_device_is_done_and_said(self):
        done, _ = self.good(lambda q: frame(ack(q, True) | {'device_id': 'L2\u202e'}))
        self.assertRegex(done.err_lines[-1], r"^DEVICE123 is on: done in .*another device, 'L2\?'$")
        (warning,) = [r for r in done.records() if r.get('event') == 'other_device']
        self.assertEqual((warning['level'], warning['device_id'], warning['answered_device_id']),
                         ('WARNING', 'DEVICE123', 'L2\u202e'))
        done, _ = self.good('ok')
        self.assertEqual([r for r in done.records() if r.get('event') == 'other_device'], [])

    def test_no_word_of_a_device_steers_the_terminal(self):
        bad = 'a\x1b[31m\x07\x7f\x85\x9b31m\u061c\u200e\u200f\u2028\u2029\u202e\u2066\u2069z'
        for answer in (lambda q: frame(ack(q, True) | {'opcode': 'nack', 'reason': bad}),
                       lambda q: frame(ack(q, True) | {'device_id': bad}),
                       lambda q: frame(ack(q, True) | {'outcome': bad}),
                       lambda q: frame(ack(q, True) | {'opcode': bad}),
                       bad.encode()):
            for form in ('json', 'text'):
                done, _ = self.against(answer, arguments=['--io-timeout', '1s', '--max-attempts', 1, '--reply', 'any',
                                                          '--log-format', form, '--log-level', 'DEBUG'])
                self.assertTrue(done.err_lines)
                self.assert_steers_no_terminal(done)

    # Which answers count

    def test_reply_framed_refuses_the_bare_ack(self):
        done, device = self.against('unframed', arguments=[*LONG, '--reply', 'framed'])
        self.code(done, 3)
        self.assertEqual(len(device.connections), 1)
        self.assertIn('decode_error', [p['outcome'] for p in done.packets('recv')])

    def test_reply_framed_takes_frames(self):
        self.good('ok', arguments=['--reply', 'framed'])

    def test_reply_any_takes_anything(self):
        for answer in (b'OK', b'ACK', b'\x00\x01\x02', b'hello, world\r\n'):
            with self.subTest(answer):
                done, _ = self.good(answer, arguments=['--reply', 'any'])
                (received,) = done.packets('recv')
                self.assertEqual(bytes.fromhex(received['raw_packet_hex']), answer)
                self.assertEqual(received['reply'], 'unframed')

    def test_reply_any_takes_frames_too(self):
        done, _ = self.good('ok', arguments=['--reply', 'any'])
        self.assertNotIn('reply', done.packets('recv')[0])
        done, _ = self.against('nack', arguments=[*LONG, '--reply', 'any'])
        self.code(done, 1)


if __name__ == '__main__':
    programs.main()
