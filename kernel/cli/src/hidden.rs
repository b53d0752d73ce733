//! Secrets that are typed at a terminal.

/// Asks for one. Nothing of it is shown, not even what is typed or pasted before the question stands on the screen.
pub(crate) fn ask(prompt: &str) -> std::io::Result<String> {
    let _silent = Silent::begin();
    rpassword::prompt_password(prompt)
}

/// The terminal's echo is off until this is dropped: `rpassword` turns it off only after the prompt.
struct Silent(#[cfg(unix)] Option<rustix::termios::Termios>);

impl Silent {
    #[cfg(unix)]
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let terminal = std::io::stdin();
        let before = tcgetattr(&terminal).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO);
            // Where it fails, `rpassword` still does its part.
            let _ = tcsetattr(&terminal, OptionalActions::Now, &quiet);
        }
        Self(before)
    }

    #[cfg(not(unix))]
    fn begin() -> Self {
        Self()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.0 {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
