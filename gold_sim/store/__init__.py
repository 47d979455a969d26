"""The store: finished cells, their tables and arrays, archives to publish, and stores elsewhere."""

from gold_sim.store.files import NotStored, StoreError
from gold_sim.store.store import Store
