"""Triton kernels, each beside its plain-torch twin with the same signature.

Triton is optional: a module with kernels is imported only once :func:`kvgpt.kernels.available.available` says yes.
"""
