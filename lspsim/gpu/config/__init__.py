"""YAML files that say what runs: data sheets, fitted parameters, frameworks."""
