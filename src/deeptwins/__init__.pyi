from deeptwins.export.tables import load as load

__version__: str
