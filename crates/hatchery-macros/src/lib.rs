//! The attribute of Hatchery.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Error, ItemFn, LitInt, Result, parse_macro_input};

/// Makes a function the main function of a program that starts processes.
///
/// Before the function runs, the limit of open files is raised to what is allowed, and the fork
/// server is forked while the process has one thread. An asynchronous function then runs on a
/// tokio runtime with one thread; `#[hatchery::main(threads = 4)]` gives it more.
///
/// The function may return `()`, an `ExitCode`, or a `Result` of these: an error is written to
/// standard error, and makes the exit code 1, or 2 if it is one of usage or configuration.
///
/// # Examples
///
/// ```ignore
/// #[hatchery::main]
/// async fn main() -> hatchery::Result<()> {
///     hatchery::Server::builder().bind("127.0.0.1:8080").serve(handler).await
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    expand(arguments.into(), function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(
    arguments: proc_macro2::TokenStream,
    mut function: ItemFn,
) -> Result<proc_macro2::TokenStream> {
    let threads = threads(arguments, &function)?;
    if let Some(argument) = function.sig.inputs.first() {
        return Err(Error::new(
            argument.span(),
            "the main function takes no arguments",
        ));
    }
    let attributes = std::mem::take(&mut function.attrs);
    let visibility = function.vis.clone();
    let name = function.sig.ident.clone();
    let run = if function.sig.asyncness.is_some() {
        quote!(::hatchery::run_main(#threads, #name))
    } else {
        quote!(::hatchery::run_blocking_main(#name))
    };
    Ok(quote! {
        #(#attributes)*
        #visibility fn #name() -> ::std::process::ExitCode {
            #function
            #run
        }
    })
}

/// Reads `threads = N`, which only an asynchronous function may have.
fn threads(arguments: proc_macro2::TokenStream, function: &ItemFn) -> Result<usize> {
    let mut threads = 1;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("threads") {
            return Err(meta.error("unknown argument; allowed: threads = N"));
        }
        if function.sig.asyncness.is_none() {
            return Err(meta.error("only an asynchronous main function has a runtime"));
        }
        let number: LitInt = meta.value()?.parse()?;
        threads = number.base10_parse()?;
        if threads == 0 {
            return Err(Error::new(
                number.span(),
                "a runtime has at least one thread",
            ));
        }
        Ok(())
    });
    parser.parse2(arguments)?;
    Ok(threads)
}
