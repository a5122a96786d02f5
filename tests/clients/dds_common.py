"""Shared code of the CycloneDDS clients: a configuration for loopback only, and QoS."""

import json
import os
import sys
import threading

# The loopback interface has no multicast: discovery sends to the first ports of the domain.
CONFIG = """<CycloneDDS><Domain Id="any">
<General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast><MaxMessageSize>65500B</MaxMessageSize></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>30</MaxAutoParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery>
<Tracing><Verbosity>warning</Verbosity><OutputFile>stderr</OutputFile></Tracing>
</Domain></CycloneDDS>"""

# The library reads it when it is loaded.
os.environ.setdefault("CYCLONEDDS_URI", CONFIG)

from cyclonedds.core import Policy, Qos  # noqa: E402
from cyclonedds.util import duration  # noqa: E402


def qos(reliable=True, latched=False, depth=1000):
    return Qos(
        Policy.Reliability.Reliable(duration(seconds=1)) if reliable else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if latched else Policy.Durability.Volatile,
        Policy.History.KeepLast(depth),
    )


def end_with_input():
    """Ends this process when its standard input ends: with whoever has started it, however that ended."""
    def wait():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=wait, daemon=True).start()


def report(**values):
    """Prints one line of JSON and flushes it."""
    print(json.dumps(values), flush=True)
    sys.stdout.flush()
