"""The tests' own device does what its modes say; otherwise the other scenarios would prove nothing."""

import programs
from device import MODES, Client, Device, closed_port, frame, messages_of, take_frame


class TheDevice(programs.Scenario):
    def answered(self, mode, **more):
        """What a client gets that asks once and then has nothing more to say, and what the device saw."""
        with Device(mode, **more) as device, Client(device.port) as client:
            try:
                client.request()
                data = client.read_all()
            except OSError:  # it was closed even before
                data = b''
            device.wait_for(lambda: device.connections and device.connections[0].closed, 'the end')
            return data, device

    def test_frames_are_those_of_the_specification(self):
        self.assertEqual(frame(b'{}'), bytes.fromhex('f00d01000000027b7d'))
        self.assertEqual(take_frame(frame(b'{}') + b'x'), (b'{}', b'x'))
        self.assertEqual(take_frame(frame(b'{}')[:-1])[0], None)

    def test_every_mode_answers_as_its_name_says(self):
        states = {'ok': 1, 'delay': 1, 'wrong_id': 1, 'duplicate': 2}
        for mode in MODES:
            with self.subTest(mode):
                data, device = self.answered(mode, delay=0.05)
                self.assertEqual(len(device.connections), 1)
                self.assertEqual(device.connections[0].error, None)
                if mode in states:
                    answers = messages_of(data)
                    self.assertEqual([a['opcode'] for a in answers], ['ack'] * states[mode])
                    self.assertEqual(answers[0]['msg_id'] == '0123456789abcdef', mode != 'wrong_id')
                elif mode.startswith('nack'):
                    (answer,) = messages_of(data)
                    self.assertEqual((answer['opcode'], answer['retryable']), ('nack', mode == 'nack_retryable'))
                elif mode == 'unframed':
                    self.assertEqual(data, b'ACK')
                elif mode == 'garbage':
                    self.assertNotEqual(data[:1], b'\xf0')
                    self.assertGreater(len(data), 7)
                elif mode == 'partial':
                    self.assertEqual(take_frame(data), (None, data))
                    self.assertGreater(len(data), 7)
                else:
                    self.assertEqual(data, b'')
                if mode != 'reject':
                    self.assertEqual(device.requests[0]['msg_id'], '0123456789abcdef')
                    self.assertEqual(device.connections[0].received, frame(device.requests[0]))

    def test_a_script_has_a_mode_for_each_connection_and_the_last_one_stays(self):
        with Device('unframed', 'ok') as device:
            answers = []
            for _ in range(3):
                with Client(device.port) as client:
                    client.request()
                    answers.append(client.read_all()[:3])
            self.assertEqual(answers, [b'ACK', frame(b'')[:3], frame(b'')[:3]])

    def test_bytes_that_are_no_frame_are_an_error(self):
        with Device('ok') as device, Client(device.port) as client:
            client.send(b'\xf0\x0e')
            client.read_to_end()
            self.assertIn('byte 1 is 0e', device.connections[0].error)

    def test_a_closed_port_refuses(self):
        held, port = closed_port()
        with held, self.assertRaises(ConnectionRefusedError):
            Client(port)


if __name__ == '__main__':
    programs.main()
