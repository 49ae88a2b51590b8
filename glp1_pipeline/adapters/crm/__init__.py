"""The door to the CRM: a REST API in the shape of HubSpot's contacts (docs/crm.md).

Here: contacts (`contacts`), which changes of them are news (`changes`), how far we read (`cursor`). Not here: the
webhooks that make us look sooner (`adapters.hooks`), rows of the outbox, and whose word counts (`domain.crm`).
"""

from .contacts import Crm, CrmMisconfigured, CrmSettings

__all__ = ["Crm", "CrmMisconfigured", "CrmSettings"]
