//! A memory budget that many links share: who may grant how much, so that the sum never exceeds the total.
//!
//! # What is counted
//!
//! What is *outstanding* of a member (the consuming end of a link) is all that it granted and has not finished with: credit that
//! is unused, items on their way, and items that it holds. Limits only rise (rule P3), so credit once granted is never taken back: a
//! member shrinks only as it finishes with items, and a member that is stuck keeps what it has. So the whole art is in not giving
//! too much away.
//!
//! # How much a member may have
//!
//! ```text
//!   allotment = max(guarantee, min(wish, earned, fair))
//!
//!   wish       its window
//!   earned     16 KiB, and one byte more for each byte that it finished with; at most four times what it finished with in the
//!              last epoch, and never less than 16 KiB. An epoch is over when all together finished with half of the total
//!   weight     its priority, times how often it turned over what it had in the last epoch, from 1 to 16
//!   fair       y = 32 · weight / weights · (A - y)² / total, where A is what would be free if it gave up all it has, less
//!              an eighth of the total, which is only for guarantees
//!   guarantee  total / 32 / members, within 1 byte and 16 KiB; set aside for each member that has less
//! ```
//!
//! * *earned* makes a chain that has never moved, or is slow beside the others, small: a thousand of them hold little.
//! * *weight* gives one that moves more than those that hardly do, whatever their windows, and no more than 16 times as much.
//! * *fair* falls with the square of what is free. However many members take all they can get, and however long they keep it, something
//!   is left for the next: if all are greedy, some 73 % of the total is granted and the rest kept.
//! * *guarantee* is kept free for each member that has less, before anybody is given more than his own. So a member that finishes with
//!   what it has is always given something at once, whatever the others do, as long as the guarantees of all fit in what the
//!   others have left.
//! * Where even that does not fit (less than a few bytes of the total for each member), members with nothing wait in a queue, first
//!   come first served, and are given what comes free before anybody else.
//!
//! No clock: use is counted in turnovers of the budget. Time is not an argument of anything here.

mod pool;

pub use pool::{MemberId, Pool, Standing};
