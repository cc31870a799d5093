"""One picture of an object to a triplane radiance field: OpenLRM, TripoSR and our own small model."""
