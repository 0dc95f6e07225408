"""OpenAPI descriptions of the HTTP interface and the page that shows them. Data only."""
