"""Model bundles: trained, shown, verified, compared, promoted. The file itself is `state.bundle`."""
