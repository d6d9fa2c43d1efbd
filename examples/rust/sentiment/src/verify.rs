use crate::{errors::Result,settings::*}; pub fn verify(_:&Settings,_:MethodName)->Result<()>{Ok(())}
