"""What commands share: options, inputs, output, errors, help."""
