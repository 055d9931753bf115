"""Devices that are watched around a case, and on which nothing, or always the same, happens."""


class Quiet:
    """A device on which nothing else happens."""

    def read(self):
        return None

    def notes(self, before, after):
        return []

    def details(self, before, after):
        return {}


class Throttled:
    """A device that is throttled during every case."""

    def __init__(self):
        self.readings = 0

    def read(self):
        self.readings += 1
        return self.readings

    def notes(self, before, after):
        return [f"throttled between {before} and {after}"]

    def details(self, before, after):
        return {"temperature": 80 + after}
