//! Tests of whole connections that need their insides.
