"""From conversations and acts to the units that are scored."""
