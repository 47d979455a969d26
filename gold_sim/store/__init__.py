"""The store: finished cells with their tables and arrays, archives to publish, and stores at other addresses."""

from gold_sim.store.files import Damaged, NotStored, StoreError
from gold_sim.store.store import Store
