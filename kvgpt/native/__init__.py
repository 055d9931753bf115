"""Loops in C++ for a CPU, compiled where they run, each beside plain PyTorch that says what they compute."""
