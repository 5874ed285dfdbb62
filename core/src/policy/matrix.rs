//! Who may do what, as a table: a reviewer reads the difference of a table, not of a policy.

use core::fmt::Write as _;

use super::Policy;

impl Policy {
    /// The table of roles and permissions, inheritance resolved.
    pub fn permission_matrix(&self) -> String {
        let width = self.roles.names().map(str::len).chain([4]).max().unwrap_or_default();
        let mut table = format!("{:width$}", "role");
        for permission in self.permissions.names() {
            // Writing to a string cannot fail.
            let _ = write!(table, "  {permission}");
        }
        table.push('\n');
        for (index, role) in self.roles.names().enumerate() {
            let _ = write!(table, "{role:width$}");
            for (bit, permission) in self.permissions.names().enumerate() {
                let held = self.roles.permissions_of(index).is_some_and(|set| set.contains(bit));
                let mark = if held { "x" } else { "." };
                let _ = write!(table, "  {mark:<width$}", width = permission.len());
            }
            table.truncate(table.trim_end().len());
            table.push('\n');
        }
        table
    }
}
