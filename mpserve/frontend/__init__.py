"""A frontend process: it owns client connections and speaks HTTP."""
