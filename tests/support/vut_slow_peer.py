"""The live peer of the interoperability tests with an application that reads slowly: it grants 500 octets, and five seconds later all.

Takes the arguments of vut_peer.py, which lies beside the checkout, and only puts another consumer into it.
"""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, '..', '..', '..', 'shared', 'interop'))
import vut_peer  # noqa: E402


class SlowSink(vut_peer.Sink):
    more = 0

    def _producer_attached(self):
        self._set_receive_limit(500)
        self.run.reactor.schedule(5.0, self.read_on)

    def _data_received(self, data):
        self.run.got(data)
        return self.more

    def read_on(self):
        self.more = -1
        self._set_receive_limit(-1)


vut_peer.Sink = SlowSink
vut_peer.main()
