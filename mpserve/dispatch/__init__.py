"""One inference from checked request to completion: route, check, submit."""
