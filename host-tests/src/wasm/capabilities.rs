//! The `capability_restriction_config` of a shipped Envoy configuration.

/// The names under `allowed_capabilities:` in the YAML of an Envoy configuration, in their order.
///
/// Reads the block form only, one `name: {}` per line, which is how the shipped files are written;
/// a file without such a block gives an empty list.
pub fn allowed_in(envoy_yaml: &str) -> Vec<String> {
    let mut allowed = Vec::new();
    let mut block_depth = None;
    for line in envoy_yaml.lines() {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let depth = line.len().saturating_sub(text.len());
        if text.starts_with("allowed_capabilities:") {
            block_depth = Some(depth);
            continue;
        }
        match block_depth {
            Some(start) if depth > start => {
                let name = text.split(':').next().unwrap_or_default().trim_matches('"');
                allowed.push(name.to_owned());
            }
            Some(_) => block_depth = None,
            None => {}
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::allowed_in;

    #[test]
    fn the_names_of_the_block_are_read_and_nothing_behind_it() {
        let yaml = "\
vm_config:
  capability_restriction_config:
    allowed_capabilities:
      # start
      proxy_on_vm_start: {}
      \"proxy_log\": {}

      fd_write: {}
  runtime: envoy.wasm.runtime.v8
";
        assert_eq!(allowed_in(yaml), ["proxy_on_vm_start", "proxy_log", "fd_write"]);
    }

    #[test]
    fn a_file_without_the_block_has_none() {
        assert!(allowed_in("vm_config: {}\n").is_empty());
    }
}
