"""Several processes that serve calls, with one ledger, one rollout, one decision log and one set of pages.

The main process, the hub, keeps everything that is durable and everything that operators see. Its workers are
child processes that take the calls: each has a listening socket of its own, the privacy gate, the request
line and the upstreams. What a worker needs of the hub goes over a channel, a pair of sockets that ends with
either process::

    worker -> hub    holds and their settlements, what became of calls, how it fares
    hub -> worker    the holds' answers, what the caps leave, the rollout, tiers out of service, settings

``messages``   all that is said over a channel; ``channel`` carries it
``stand_ins``  the ledger, the rollout and the shadow calls' purse as a worker sees them
``outbox``     gathers what has become of calls
``forward``    takes what is not a call to the hub: pages, admin API, health, metrics; ``peer``: from whom
``worker``     a worker's composition root; ``process``: its process
``link``       the hub's end of one channel: exactly one settlement for each hold, however the worker ends
``hub``        tells all workers what is new, and adds up what they tell
``crew``       the processes: started, restarted, replaced one after another, drained
``command``    ``sidecar serve --workers N``
"""
