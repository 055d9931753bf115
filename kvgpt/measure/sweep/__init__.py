"""Sweeps: the cases of a grid over several workers, one pytest process a device, whatever becomes of any of them.

``plan`` says which cases belong together and who begins with which; ``ledger`` who has which, in files that all workers
see; ``worker`` is the plug-in that measures; ``conducting`` starts workers and tells those that ended from those that
died; ``gathering`` makes files of what counts, for ``kvgpt merge``; ``view`` shows all of it.
"""
