"""What must hold however the world behaves, shown on the shell and a whole boot server in memory.

The kernel is under its real adapter; every effect is a moment at which something can go wrong. ``world`` is what
outlives the daemon, ``guard`` looks at it behind each effect, ``oracle`` says what is wrong with it in the end,
``explore`` tries a story with a fault at each moment. The planners' own laws are in ``tests/controller/core``, those of
the stores in ``tests/contracts``.

====  ================================================================  ==========================================
P1    the world is reached, whatever went wrong on the way              test_crashes, test_faults, test_walks
P2    a process that knows nothing leaves a right world alone           explore (behind each story), test_rest
P3    at rest nothing is written: 500 objects, years going by           test_rest
P4    death at every effect, before, during and after                   test_crashes
P5    an old view costs nothing newer                                   test_faults (kernel, pool, TFTP, dhcpd)
P6    a change that arrives during a pass is done                       test_faults (by the dirty set alone)
P7    a controller that was taken over from does nothing more           test_faults (see there for how much is "more")
P8    foreign things are untouched                                      guard, behind every effect of every test
P9    no script leads to nothing, no live disk is cut                   guard, behind every effect of every test
P10   what cannot be read deletes nothing                               test_failed_reads; the guard on sources too
P11   the end does not depend on the way                                test_walks
P12   rubbish from a source changes nothing                             test_failed_reads, test_walks
P13   one object in trouble holds up nobody else                        test_poison
P14   generations never go back, times move with their condition        guard, at every status that is written
P15   what is committed reads back                                      test_failed_reads; else tests/manifests and
                                                                        tests/controller/core (renderers)
P16   k changes cost O(k)                                               test_rest (effects, and one load of dhcpd)
====  ================================================================  ==========================================

That these checks can fail is shown in test_seeded_bugs.
"""
