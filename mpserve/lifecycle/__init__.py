"""Pure decisions on models: what is wanted, what is, and what to do next. No I/O, no clock."""
