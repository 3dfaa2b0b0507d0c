"""The operations, a module for each thing. Each calls the function below the portal that the page calls."""

from portal.api.resources import payments, subscribers

__all__ = ["payments", "subscribers"]
